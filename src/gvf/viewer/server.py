"""A web server for one folder with an asset, on this machine only."""

from __future__ import annotations

import errno
import os
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

from gvf.errors import UserError

HOST = "127.0.0.1"
_NAMES = {HOST, "localhost"}  # under which a browser may ask; another name is a foreign page's
_TYPES = {
    ".gif": "image/gif",
    ".glb": "model/gltf-binary",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".webm": "video/webm",
}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Site:
    """What is served: pages made in memory, by their path, and the files of a folder, or `only` one of them."""

    folder: Path
    pages: Mapping[str, bytes]
    only: str | None = None


def open_server(site: Site, port: int = 0) -> ThreadingHTTPServer:
    """Return a server that is bound to `port` of this machine, or to a free port for 0; `serve_forever` starts it.

    Raises UserError when the port cannot be had.
    """

    class Handler(_Handler):
        pass

    Handler.site = site
    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = "is in use" if error.errno == errno.EADDRINUSE else "needs more rights"
        raise UserError(f"--port {port}: {why}. Choose another, or leave it out for a free one.") from None


def address(server: ThreadingHTTPServer) -> str:
    """Return the address of the server's first page."""
    return f"http://{HOST}:{server.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD with pages, and with files of the folder or a range of one; everything else does not exist."""

    site: Site
    protocol_version = "HTTP/1.1"
    server_version = "gvf"
    sys_version = ""

    def do_GET(self) -> None:
        try:
            self._answer(with_content=True)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the browser has lost interest, as it does while seeking in a video

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep the terminal quiet."""

    def _answer(self, with_content: bool) -> None:
        if self.headers.get("Host", "").rpartition(":")[0] not in _NAMES:
            return self._refuse(HTTPStatus.FORBIDDEN)
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")
        if path in self.site.pages:
            content = self.site.pages[path]
            self._head(HTTPStatus.OK, ".html", len(content))
            if with_content:
                self.wfile.write(content)
            return None
        allowed = self.site.only in (None, path)
        opened = open_inside(self.site.folder, path) if allowed else None
        if opened is None:
            return self._refuse(HTTPStatus.NOT_FOUND)
        with opened:
            self._send_file(opened, Path(path).suffix.lower(), with_content)
        return None

    def _send_file(self, file: BinaryIO, suffix: str, with_content: bool) -> None:
        size = os.fstat(file.fileno()).st_size
        wanted = self.headers.get("Range")
        part = None if wanted is None else byte_range(wanted, size)
        if part is None:
            self._head(HTTPStatus.OK, suffix, size, {"Accept-Ranges": "bytes"})
            part = range(size)
        elif len(part) == 0:
            return self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size}"})
        else:
            about = {"Accept-Ranges": "bytes", "Content-Range": f"bytes {part.start}-{part.stop - 1}/{size}"}
            self._head(HTTPStatus.PARTIAL_CONTENT, suffix, len(part), about)
        if with_content:
            file.seek(part.start)
            _copy(file, self.wfile, len(part))
        return None

    def _head(self, status: HTTPStatus, suffix: str, length: int, more: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", _TYPES.get(suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: HTTPStatus, more: Mapping[str, str] | None = None) -> None:
        self._head(status, "", 0, more)


def open_inside(folder: Path, path: str) -> BinaryIO | None:
    """Open a regular file of a folder, or return None: for what is not there, not readable, hidden, or elsewhere by a link."""
    parts = path.split("/")
    if "\0" in path or any(part.startswith(".") for part in parts):
        return None
    try:
        real = folder.joinpath(*parts).resolve(strict=True)
        if not real.is_relative_to(folder.resolve()) or not real.is_file():
            return None
        return open(real, "rb")
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links in a circle
        return None


def byte_range(header: str, size: int) -> range | None:
    """Return the bytes that a Range header asks for, empty if there are none; None if it asks for no single range."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    stop = min(int(last) + 1, size) if last else size
    return None if last and int(last) < int(first) else range(min(int(first), size), stop)


def _copy(source: BinaryIO, out: Any, length: int) -> None:
    while length > 0 and (block := source.read(min(length, 1 << 20))):
        out.write(block)
        length -= len(block)
