"""Finding a generator's folder: the one that comes with gvf, another on this machine, or one on the model hub."""

from __future__ import annotations

import re
from pathlib import Path

import gvf
from gvf.errors import UserError
from gvf.pipelines.generator_folder import IMAGE_FOLDER
from gvf.pipelines.generator_index import HUB_NAME, INDEX_NAME
from gvf.pipelines.image_to_canonical_index import INDEX_NAME as IMAGE_INDEX_NAME
from gvf.storage import published_files
from gvf.storage.checksums import CHECKSUMS_NAME
from gvf.storage.files import PathLike
from gvf.text import clean

SHIPPED = "gvf-small"
"""Name of the generator that comes with gvf, as `gvf models export --name gvf-small` made it."""

# Everything that a generator may consist of; nothing else is fetched.
PATTERNS = (
    *(INDEX_NAME, CHECKSUMS_NAME, "README.md", "DATA.md", "*/config.json", "*/model.safetensors"),
    f"{IMAGE_FOLDER}/{IMAGE_INDEX_NAME}",
)
_PUBLISHED = (
    published_files.STATIC_VAE,
    published_files.VARIATION_VAE,
    published_files.DIT,
    *published_files.STATISTICS,
)


def shipped_generator() -> Path | None:
    """Return the folder of the generator that comes with gvf; None where it is absent.

    A checkout has it in `pretrained`, a wheel holds that folder inside the package.
    """
    package = Path(gvf.__file__).resolve().parent
    places = [folder / "pretrained" / SHIPPED for folder in (package, package.parents[1])]
    return next((place for place in places if (place / INDEX_NAME).is_file()), None)


def locate(
    name_or_folder: PathLike,
    *,
    revision: str | None = None,
    cache_dir: PathLike | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """Return the folder of a generator: the given one, that of gvf itself, or a copy of a repository of the model hub.

    name_or_folder: a folder, or as text also `gvf-small` (`SHIPPED`) or `owner/name` on the hub. Files that `gvf weights
    pull` fetched are used where the name is that of the published weights. Other arguments: as in
    `huggingface_hub.snapshot_download`. Raises UserError when there is no such folder and the repository cannot be had.
    """
    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    name = str(name_or_folder)
    if name == SHIPPED and not isinstance(name_or_folder, Path):
        if (shipped := shipped_generator()) is not None:
            return shipped
        raise UserError(
            f"pretrained/{SHIPPED}: the generator that comes with gvf is not here. Name another with --model: a folder (in a "
            "workspace, `make repro` trains models/generator) or owner/name on the model hub. `gvf models "
            "list` shows those on this machine."
        )
    if isinstance(name_or_folder, Path) or not re.fullmatch(HUB_NAME, name):
        raise UserError(
            f"{clean(name, 200)}: no such folder, and not a name on the model hub (owner/name, as text). Give the folder "
            f"that holds {INDEX_NAME}; in a workspace, `dvc repro train-dit` writes it."
        )
    patterns = list(PATTERNS)
    if name == published_files.DIT.repository:
        patterns = [file.path for file in _PUBLISHED]
        pulled = published_files.weights_folder() / name.split("/")[1]
        if revision is None and all((pulled / file.path).is_file() for file in _PUBLISHED):
            return pulled
    return snapshot(name, patterns, revision, cache_dir, local_files_only, token)


def snapshot(
    name: str,
    patterns: list[str],
    revision: str | None,
    cache_dir: PathLike | None,
    local_files_only: bool,
    token: str | bool | None,
) -> Path:
    """Return the folder of a copy of a repository's files that match the patterns. Raises UserError if it cannot be had."""
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                cache_dir=None if cache_dir is None else str(cache_dir),
                local_files_only=local_files_only,
                token=token,
                allow_patterns=patterns,
            )
        )
    except (OSError, ValueError) as error:  # the hub's errors are OSErrors and ValueErrors
        where = (
            "in the hub's cache on this machine" if local_files_only else "on the model hub, or it cannot be reached"
        )
        reason = clean(str(error).partition("\n")[0], 200).rstrip(".")
        raise UserError(
            f"{name}: not found {where} ({reason}). Check the name and the network, or copy the generator's folder here "
            "and give its path."
        ) from None
