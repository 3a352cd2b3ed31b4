"""Downloads of published weights: resumed where they broke off, checked, and named only when they are whole.

The model hub's client tells what a pinned file is and where it lies; the bytes are fetched here, because a download of
that client starts anew when its process was stopped (huggingface_hub 2.4), and some files are not on the hub.
"""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from gvf.errors import GvfError
from gvf.files import sha256
from gvf.published_files import HubFile, HubModel, PublishedFile, WebFile

_BLOCK = 1 << 20
_TIMEOUT = 30.0  # seconds without an answer


class DownloadError(GvfError):
    """A file that could not be fetched; the message says from where and how to do without."""


def download(file: PublishedFile, folder: Path) -> list[Path]:
    """Fetch what is missing of a published file into a folder of weights, with progress on standard error.

    Returns the paths. Raises DownloadError.
    """
    if isinstance(file, HubModel):
        return [path for part in file.parts for path in download(part, folder)]
    target = folder / (file.name if isinstance(file, WebFile) else file.places[0])
    if not target.is_file():
        url, size, digest = (file.url, None, file.digest) if isinstance(file, WebFile) else _on_the_hub(file, target)
        fetch(url, target, size, digest)
    return [target]


def fetch(url: str, target: Path, size: int | None, digest: str) -> None:
    """Fetch a file; what an earlier attempt left in `<target>.partial` is kept and continued.

    size: bytes of the whole, null if unknown. digest: the beginning of its SHA-256, may be empty. Raises DownloadError.
    """
    partial = target.with_name(target.name + ".partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _continue(url, partial, size, target.name)
        found = sha256(partial) if digest else ""
        total = partial.stat().st_size
        if size is not None and total < size:
            raise DownloadError(f"{url}: broke off after {total} of {size} bytes. Run the command again to go on.")
        if (size is not None and total > size) or not found.startswith(digest):
            partial.unlink()
            raise DownloadError(f"{url}: what came is not the published file (SHA-256 {found}). Removed; try again.")
        os.replace(partial, target)
    except OSError as error:
        raise _unreachable(url, target, error) from None


def _continue(url: str, partial: Path, size: int | None, name: str) -> None:
    start = partial.stat().st_size if partial.is_file() else 0
    if size is not None and start >= size:
        return
    request = urllib.request.Request(
        url, headers={"User-Agent": "gvf"} | ({"Range": f"bytes={start}-"} if start else {})
    )
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to send: the whole is here, and only its renaming was missed
            return
        raise
    with answer:
        if answer.status != 206:  # the server sends the whole
            start = 0
        length = answer.headers.get("Content-Length")
        total = size or (start + int(length) if length else None)
        with (
            open(partial, "ab" if start else "wb") as file,
            tqdm(total=total, initial=start, unit="B", unit_scale=True, unit_divisor=1024, desc=name) as bar,
        ):
            while block := answer.read(_BLOCK):
                file.write(block)
                bar.update(len(block))
        if total is not None and partial.stat().st_size < total:
            raise DownloadError(
                f"{url}: broke off after {partial.stat().st_size} of {total} bytes. Run the command again to go on."
            )


def _on_the_hub(file: HubFile, target: Path) -> tuple[str, int | None, str]:
    """Where the bytes of a pinned file are, how many, and their SHA-256 where the hub states it."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HTTPError

    try:
        url = hf_hub_url(file.repository, file.path, revision=file.revision)
        metadata = get_hf_file_metadata(url)
    except (HTTPError, OSError) as error:
        raise _unreachable(file.address, target, error) from None
    digest = metadata.etag or ""
    return metadata.location, metadata.size, digest if re.fullmatch("[0-9a-f]{64}", digest) else ""


def _unreachable(address: str, target: Path, error: Exception) -> DownloadError:
    offline = " HF_HUB_OFFLINE is set." if os.environ.get("HF_HUB_OFFLINE", "0") not in ("0", "") else ""
    reason = str(error).partition("\n")[0] or type(error).__name__
    return DownloadError(
        f"{address}: cannot be fetched ({reason}).{offline} On a machine with a network run the same command, or download "
        f"it there, and copy it to {target}."
    )
