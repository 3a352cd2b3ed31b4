"""Find the weights of one kind in a folder: by their published name, as a converted folder, or by their content."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from gvf.errors import UserError
from gvf.models.network_folder import WEIGHTS_NAME
from gvf.storage.published_files import HubFile, PublishedFile
from gvf.storage.recognition import Container, recognize_file
from gvf.text import clean
from gvf.weights.catalog import CATALOG
from gvf.weights.layout import Layout
from gvf.weights.loading import load_as

_SUFFIXES = {".safetensors", ".pt", ".pth", ".ckpt"}
_MOST_FILES = 64  # of unknown name that are opened
_DEPTH = 2  # folders below the given one


def find_published(folder: Path, file: PublishedFile) -> Path | None:
    """Return a published file in a folder, at one of the places where a repository or `gvf weights pull` has it."""
    if not isinstance(file, HubFile):
        return None
    return next((folder / place for place in file.places if (folder / place).is_file()), None)


def find_weights(folder: Path, layout: Layout, file: HubFile, names: tuple[str, ...] = ()) -> Path | None:
    """Return the file or folder of one kind of weights inside a folder; None if there is none.

    It is a folder `names` or one named after the kind (as `gvf weights convert -o ss-flow` writes it), the published file,
    or the only file of another name whose tensors are those of the kind. Raises UserError when there are several of these.
    """
    for name in (*names, layout.kind):
        if (folder / name / WEIGHTS_NAME).is_file():
            return folder / name
    return find_published(folder, file) or _by_content(folder, layout)


def _by_content(folder: Path, layout: Layout) -> Path | None:
    found = [path for path in islice(_unknown_files(folder, _DEPTH), _MOST_FILES) if _fits(path, layout)]
    if len(found) > 1:
        listed = ", ".join(clean(path.relative_to(folder).as_posix(), 80) for path in found[:3])
        raise UserError(f"{folder}: holds several weights of kind {layout.kind}: {listed}. Keep the one to use.")
    return found[0] if found else None


def _unknown_files(folder: Path, depth: int) -> Iterator[Path]:
    """Yield weight files whose names are not those of published ones, without following links to folders."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and depth and not (path / WEIGHTS_NAME).exists():
            yield from _unknown_files(path, depth - 1)
        elif path.suffix in _SUFFIXES and path.name not in _KNOWN and path.name != WEIGHTS_NAME and path.is_file():
            yield path


def _fits(path: Path, layout: Layout) -> bool:
    """Return whether a file holds exactly the tensors of a kind; one in torch.save's old format is not looked into."""
    if recognize_file(path).container not in (Container.SAFETENSORS, Container.TORCH):
        return False
    try:
        load_as(path, layout, headers_only=True)
    except UserError:
        return False
    return True


_KNOWN = {part.name for entry in CATALOG.values() for file in entry.files for part in file.parts}
