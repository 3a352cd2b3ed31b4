"""A web server of a few files that answers ranges, as the model hub's does, and can break off."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """files: path -> content. breaks_after: bytes of an answer after which it hangs up. asked: (method, path, Range)."""

    files: Mapping[str, bytes]
    url: str = ""
    breaks_after: int | None = None
    ranges: bool = True
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)


@contextmanager
def serve(files: Mapping[str, bytes]) -> Iterator[FileServer]:
    """Serve `files` on a free port of this machine."""
    state = FileServer(files)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def _answer(self, with_body: bool) -> None:
            state.asked.append((self.command, self.path, self.headers.get("Range")))
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = 0
            asked = self.headers.get("Range")
            version = f'"{hashlib.sha256(content).hexdigest()}"'
            if asked and state.ranges and self.headers.get("If-Range", version) == version:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("ETag", version)
            self.send_header("X-Repo-Commit", "0" * 40)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if with_body:
                self.wfile.write(content[start : None if state.breaks_after is None else start + state.breaks_after])

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def raw_server(answer: bytes | None, trickle: bool = False) -> Iterator[str]:
    """Send these bytes to whoever connects, whatever is asked, and hang up; yields the address.

    answer: None to say nothing at all. trickle: go on with single bytes, slowly, instead of hanging up.
    """
    ended = threading.Event()

    def talk(client: socket.socket) -> None:
        with client:
            try:
                client.recv(65536)
                if answer is not None:
                    client.sendall(answer)
                while (answer is None or trickle) and not ended.wait(0.05):
                    if trickle:
                        client.sendall(b"x")
            except OSError:
                pass

    def accept() -> None:
        while not ended.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            listener.close()
