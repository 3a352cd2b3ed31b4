"""Downloads of published weights: resumed where they stopped, verified, and renamed only once complete.

The model hub's client provides the metadata and address of a pinned file; this module downloads the bytes. The client's
own download does not resume after it is killed. Measured with huggingface_hub 2.4.0 against a local hub that supports
ranges: killed after 10 of 40 MB, by SIGKILL or SIGTERM, into a `local_dir` or the cache, its next call requested the
whole file, without a Range, and left the first 10 MB behind as `<etag>.<random>.incomplete`. Since every process writes
to a file of its own (huggingface_hub's pull request 4228), it resumes within one process only. That is not enough for
2 GB files on slow connections, and some files are not on the hub.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from gvf.errors import GvfError
from gvf.storage.files import sha256
from gvf.storage.published_files import HubFile, PublishedFile, WebFile
from gvf.storage.recognition import wrong_answer
from gvf.text import clean
from gvf.weights.verification import record_published, set_aside, verify

_BLOCK = 1 << 20
_TIMEOUT = 30.0  # seconds without an answer, or without further bytes
_SLOW_SPAN, _SLOWEST = 60.0, 1024.0  # seconds, and the least mean rate over each such span, in bytes per second
_SPARE = 64 << 20  # bytes that a download leaves free on the disk
_OF_THE_DISK = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
}
_RESUME = "Run the command again to go on."


class DownloadError(GvfError):
    """A file that could not be fetched; the message says from where and how to do without."""


@dataclass(frozen=True)
class Source:
    """Where to download a file. size: in bytes, None if unknown. digest: the beginning of its SHA-256, may be empty."""

    url: str
    size: int | None
    digest: str


def find_source(file: HubFile | WebFile, target: Path) -> Source:
    """Find where to download a published file; queries the hub for its files. Raises DownloadError."""
    if isinstance(file, WebFile):
        return Source(file.url, None, file.digest)
    return _on_the_hub(file, target)


def download(file: PublishedFile, folder: Path) -> list[Path]:
    """Download the missing parts of a published file into a folder of weights, with progress on standard error.

    A damaged file is downloaded again, and the old one is kept as `<name>.damaged`. Returns the paths. Raises
    DownloadError.
    """
    paths = []
    for part in file.parts:
        target = folder / part.places[0]
        paths.append(target)
        if not target.is_file():
            _fetch_part(part, target)
        elif verify(part, target).problem:
            with set_aside(target):
                _fetch_part(part, target)
    return paths


def _fetch_part(part: HubFile | WebFile, target: Path) -> None:
    source = find_source(part, target)
    fetch(source.url, target, source.size, source.digest)
    record_published(target, source.digest)


def fetch(url: str, target: Path, size: int | None, digest: str) -> None:
    """Download a file, resuming from `<target>.partial` where that is certain to be the beginning of the same file.

    It is certain if a digest verifies the result, or if the server still reports the version (ETag) under which the
    beginning was sent; otherwise the download restarts. A resumed file that fails verification is downloaded once more.

    url: http or https; a redirect to another scheme, or from https to http, is refused. size: in bytes, None if unknown.
    digest: the beginning of its SHA-256, may be empty; without one, a web page, an error text or a pointer in place of
    the file is refused. Raises DownloadError.
    """
    if not re.match("https?://", url):
        raise DownloadError(f"{url}: must begin with http:// or https://.")
    partial = _Partial(target.with_name(target.name + ".partial"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            start = _continue(url, partial, size, digest, target.name)
            wrong = _wrong(partial.path, target.name, size, digest)
            if not wrong:
                os.replace(partial.path, target)
                partial.forget()
                return
            partial.clear()
            if start == 0:
                break
        raise DownloadError(
            f"{url}: the download is not the published file: {wrong}. It was removed; try again, or open the address in a browser."
        )
    except (OSError, ValueError, http.client.HTTPException) as error:
        partial.drop_if_empty()
        raise _unreachable(url, target, error) from None


def _wrong(path: Path, name: str, size: int | None, digest: str) -> str:
    """Return why a completed download is not the requested file; empty if it is."""
    total = path.stat().st_size
    if size is not None and total != size:
        return f"{total} bytes, not {size}"
    if digest:
        found = sha256(path)
        if found.startswith(digest.lower()):
            return ""
        return wrong_answer(path, name) or f"SHA-256 {found}, where {digest} was published"
    return wrong_answer(path, name)


class _Partial:
    """A partial download, with a note beside it of its address and version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._note = path.with_name(path.name + ".json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def version(self, url: str) -> str:
        """Return the ETag under which the beginning was sent; empty if there is none or the address differs."""
        try:
            note = json.loads(self._note.read_bytes())
        except (OSError, ValueError, RecursionError):
            return ""
        same = isinstance(note, Mapping) and note.get("url") == _address(url)
        return str(note.get("etag", "")) if same else ""

    def note(self, url: str, etag: str) -> None:
        """Record the address and version of the file being written."""
        if etag:
            self._note.write_text(json.dumps({"url": _address(url), "etag": etag}), encoding="utf-8")
        else:
            self.forget()

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)
        self.forget()

    def forget(self) -> None:
        self._note.unlink(missing_ok=True)

    def drop_if_empty(self) -> None:
        try:
            if self.path.is_file() and self.size == 0:
                self.clear()
        except OSError:
            pass  # the original error is the one to report


def _continue(url: str, partial: _Partial, size: int | None, digest: str, name: str) -> int:
    """Download the rest of a file; return the byte offset at which it began. Raises DownloadError if it is interrupted."""
    start, etag = partial.size, partial.version(url)
    if start and ((size is not None and start > size) or not (digest or etag)):
        partial.clear()
        start = 0
    if start and start == size:
        return start
    headers = {"User-Agent": "gvf", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-"} | ({"If-Range": etag} if etag and not digest else {})
    try:
        answer = _opener().open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start and digest:
            return start  # the file may be complete and only not renamed yet: the digest decides
        if error.code == 416 and start:
            partial.clear()
            return _continue(url, partial, size, digest, name)
        raise
    with answer:
        begins, total = _range(url, answer, start, size)
        if begins != start or (start and not digest and "Content-Range" not in answer.headers):
            partial.clear()  # the server's ranges are unreliable: download the whole file
            if begins:
                return _continue(url, partial, size, digest, name)
        if begins == 0:
            partial.note(url, _strong(answer.headers.get("ETag")))
        room = _room(url, partial, (total or 0) - begins)
        with (
            open(partial.path, "ab" if begins else "wb") as file,
            tqdm(total=total, initial=begins, unit="B", unit_scale=True, unit_divisor=1024, desc=name) as bar,
        ):
            _copy(url, answer, file, bar, total or begins + room)
    if total is not None and partial.size < total:
        raise DownloadError(f"{url}: broke off after {partial.size} of {total} bytes. {_RESUME}")
    return begins


def _range(url: str, answer: Any, asked: int, size: int | None) -> tuple[int, int | None]:
    """Return the byte at which a response begins and the length of the whole file, None if unknown.

    asked: the first byte requested. Raises DownloadError for a response that cannot be a part of the file.
    """
    if (coding := answer.headers.get("Content-Encoding", "identity").strip().lower()) not in ("", "identity"):
        raise DownloadError(f"{url}: sent with encoding {clean(coding, 40)}, which was not requested; not kept.")
    if asked and answer.headers.get_content_type() == "text/html":
        raise DownloadError(
            f"{url}: now answers with a web page; the {asked} bytes received before are kept. {_RESUME}"
        )
    stated = answer.headers.get("Content-Length", "")
    length = int(stated) if re.fullmatch(r"\d{1,18}", stated) and not answer.headers.get("Transfer-Encoding") else None
    begins = 0
    if answer.status == 206:
        stated = answer.headers.get("Content-Range", "").strip()
        span = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", stated)
        begins = int(span[1]) if span else asked
        if (stated and span is None) or (begins and not asked):
            raise DownloadError(
                f"{url}: answers with the range '{clean(stated, 80)}', which was not requested; not kept."
            )
        if span and span[3] != "*":
            length = int(span[3]) - begins
    elif answer.status != 200:
        raise DownloadError(f"{url}: answers with status {answer.status} and no file.")
    total = None if length is None else begins + length
    if size is not None and total is not None and total != size:
        raise DownloadError(f"{url}: has {total} bytes, but the published file has {size}; not downloaded.")
    return begins, size if total is None else total


def _copy(url: str, answer: Any, file: IO[bytes], bar: Any, most: int) -> None:
    """Write a response to the file as it arrives. most: largest allowed size of the file, in bytes."""
    since, then = time.monotonic(), file.tell()
    while True:
        try:
            block = answer.read1(_BLOCK)
        except http.client.IncompleteRead as error:
            file.write(error.partial)
            raise DownloadError(f"{url}: broke off after {file.tell()} bytes. {_RESUME}") from None
        if not block:
            return
        if file.tell() + len(block) > most:
            raise DownloadError(f"{url}: sends more than the expected or available {most} bytes; stopped.")
        file.write(block)
        bar.update(len(block))
        if (passed := time.monotonic() - since) > _SLOW_SPAN:
            if file.tell() - then < _SLOWEST * passed:
                raise DownloadError(f"{url}: too slow, {file.tell() - then} bytes in {passed:.0f} s. {_RESUME}")
            since, then = time.monotonic(), file.tell()


def _room(url: str, partial: _Partial, needed: int) -> int:
    """Return the free disk space in bytes. Raises DownloadError when it is less than `needed`."""
    room = max(shutil.disk_usage(partial.path.parent).free - _SPARE, 0)
    if needed > room:
        raise DownloadError(
            f"{url}: {needed:,} bytes are still needed, but {partial.path.parent} has room for {room:,}. Free some space, or name "
            "another folder in GVF_WEIGHTS."
        )
    return room


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https addresses only, and never from https to http."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        before, after = (urllib.parse.urlsplit(url).scheme for url in (req.full_url, newurl))
        if after not in ("http", "https") or (before, after) == ("https", "http"):
            raise DownloadError(
                f"{req.full_url}: redirects to {clean(newurl, 120)}, which is not a safe web address; refused."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener of http and https addresses only (no files, no FTP), using the environment's proxies."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        _Redirects,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _address(url: str) -> str:
    """Return an address without its query, which changes over time in signed addresses."""
    return urllib.parse.urlunsplit(urllib.parse.urlsplit(url)._replace(query="", fragment=""))


def _strong(etag: str | None) -> str:
    """Return an ETag if it is strong, which guarantees equal bytes; empty if it is weak or missing."""
    return etag if etag and re.fullmatch(r'"[^"]{1,200}"', etag) else ""


def _on_the_hub(file: HubFile, target: Path) -> Source:
    """Return the address and size of a pinned file, with its SHA-256 where the hub reports it."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HTTPError

    try:
        url = hf_hub_url(file.repository, file.path, revision=file.revision)
        metadata = get_hf_file_metadata(url)
    except (HTTPError, OSError, ValueError) as error:
        raise _unreachable(file.address, target, error) from None
    digest = metadata.etag or ""
    return Source(metadata.location, metadata.size, digest if re.fullmatch("[0-9a-f]{64}", digest) else file.digest)


def _unreachable(address: str, target: Path, error: Exception) -> DownloadError:
    reason = clean(str(error).partition("\n")[0], 200) or type(error).__name__
    if isinstance(error, OSError) and not isinstance(error, urllib.error.URLError) and error.errno in _OF_THE_DISK:
        return DownloadError(f"{address}: cannot be written to {target.parent} ({reason}). Free it, then run it again.")
    offline = " HF_HUB_OFFLINE is set." if os.environ.get("HF_HUB_OFFLINE", "0") not in ("0", "") else ""
    if isinstance(error, http.client.BadStatusLine):
        reason = f"no answer in HTTP: {reason}"
    elif isinstance(error, http.client.HTTPException | TimeoutError):
        reason = f"{type(error).__name__}: {reason}"
    return DownloadError(
        f"{address}: cannot be fetched ({reason}).{offline} On a machine with a network run the same command, or download "
        f"it there, and copy it to {target}."
    )
