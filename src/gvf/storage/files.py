"""Read and write files: a file is written completely or not at all, and never contains a pickle."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gvf.errors import ClipError, GvfError, UserError, system_error

if TYPE_CHECKING:
    import numpy as np
    import torch

PathLike = str | os.PathLike[str]


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary sibling of `path` (same suffix) that takes its name when the block ends without an error.

    Raises OSError naming `path` when it cannot be written (disk full, read-only), whichever library reports it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except (GvfError, ClipError, MemoryError):
        raise
    except Exception as error:
        failure = system_error(error)
        if failure is None and isinstance(error, OSError | RuntimeError) and _is_full(path.parent):
            failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # "4096 requested and 512 written"
        if failure is None:
            raise
        if failure.filename in (None, str(partial)):
            failure.filename = str(path)
        raise failure from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def fresh_directory(path: PathLike) -> Iterator[Path]:
    """Yield an empty temporary directory beside `path` that replaces `path` when the block ends without an error.

    Where `path` is a link, as to a larger disk, the directory that it leads to is replaced.
    """
    path = Path(path)
    if path.is_symlink():
        path = path.resolve()
    partial = path.with_name(f"{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(partial, path)
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT):
            error.filename = str(path)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_full(folder: Path) -> bool:
    """Return whether the disk of a folder has no space left."""
    return shutil.disk_usage(folder).free < 1 << 16


def main_checkout(folder: Path) -> Path:
    """Return the checkout that a folder belongs to, usually the folder itself, as an absolute path.

    Only `dvc exp run --temp` and `--queue` run stages elsewhere: in a copy, at `.dvc/tmp/exps/[standalone/]NAME` of the
    checkout that DVC names in DVC_ROOT. The copy is deleted afterwards, so lasting files belong in the checkout.
    """
    here, root = folder.resolve(), os.environ.get("DVC_ROOT")
    copies = Path(root or "/", ".dvc/tmp/exps").resolve()
    if not root or not here.is_relative_to(copies):
        return here
    parts = here.relative_to(copies).parts
    return Path(root, *parts[2 if parts[:1] == ("standalone",) else 1 :])


def read_json(path: PathLike) -> Any:
    """Parse a JSON file. Raises UserError when it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run the stage that writes it (`dvc repro`).") from None
    except (ValueError, RecursionError) as error:  # also for bytes that are not UTF-8
        raise UserError(f"{path}: not valid JSON ({error}).") from None


def write_json(path: PathLike, value: Any) -> None:
    """Write `value` as indented JSON ending in a newline."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def save_npz(path: PathLike, **arrays: np.ndarray) -> None:
    """Write named arrays as a compressed npz (deflate level 1; higher levels hardly shrink images and meshes further)."""
    import numpy as np

    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            # A fixed date, so that equal arrays give equal bytes and DVC sees no change.
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def load_npz(path: PathLike, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read the named arrays of an npz file, by default all of them.

    Raises UserError when the file is missing, truncated, holds pickled objects or lacks one of `names`.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in names or () if name not in archive.files]
            if missing:
                raise UserError(
                    f"{path}: has no array {missing[0]!r}. Delete it and run the stage that writes it again."
                )
            return {name: archive[name] for name in names or archive.files}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run the stage that writes it (`dvc repro`).") from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a readable npz archive ({error}). Delete it and run its stage again.") from None


def save_tensors(
    path: PathLike, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors as safetensors; `metadata` holds strings only. Raises OSError when the file cannot be written."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as partial:
        try:
            save_file(whole, partial, metadata=dict(metadata) if metadata else None)
        except SafetensorError as error:
            number = re.search(r"\(os error (\d+)\)", str(error))  # how safetensors reports a full disk
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def load_tensors(path: PathLike, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Read every tensor of a safetensors file. Raises UserError with the cause when it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device=device)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run the stage that writes it (`dvc repro`).") from None
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        from gvf.storage.recognition import recognize_file

        content = recognize_file(path)
        what = content.problem if content.container is None else f"not a readable safetensors file ({error})."
        raise UserError(f"{path}: {what} Delete it and run its stage again.") from None


def sha256(path: PathLike) -> str:
    """Return the SHA-256 of a file's bytes as hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
