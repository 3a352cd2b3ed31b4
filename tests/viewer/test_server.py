"""The server of an asset folder: its files and ranges of them, nothing beside it, nothing for foreign pages."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gvf.errors import UserError
from gvf.viewer.server import Site, byte_range, open_server

CONTENT = bytes(range(256)) * 8


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A server of the folder `public`, with secrets around it."""
    folder = tmp_path / "public"
    (folder / "sub").mkdir(parents=True)
    for name in ("asset.glb", "preview.mp4", "sub/a b.json", ".hidden", "odd.xyz"):
        (folder / name).write_bytes(CONTENT)
    (tmp_path / "secret.json").write_text("secret")
    (folder / "out.json").symlink_to(tmp_path / "secret.json")
    (folder / "in.glb").symlink_to(folder / "asset.glb")
    with open_server(Site(folder, {"": b"<!doctype html>"})) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    answer = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return answer


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/asset.glb", "model/gltf-binary"),
        ("/in.glb", "model/gltf-binary"),
        ("/preview.mp4?t=1", "video/mp4"),
        ("/sub/a%20b.json", "application/json"),
        ("/odd.xyz", "application/octet-stream"),
    ],
)
def test_files_of_the_folder_are_served_with_their_type(port, path, kind):
    status, headers, content = get(port, path)
    assert (status, headers["Content-Type"], content) == (200, kind, CONTENT)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert get(port, path, "HEAD")[2] == b""


def test_the_first_page_is_html(port):
    status, headers, content = get(port, "/")
    assert (status, headers["Content-Type"], content) == (200, "text/html; charset=utf-8", b"<!doctype html>")


@pytest.mark.parametrize(
    "path",
    ["/../secret.json", "/%2e%2e/secret.json", "/sub/../../secret.json", "/out.json", "//etc/passwd", "/.hidden",
     "/sub", "/sub/", "/nothing", "/a%00b", "/asset.glb/x", "/" + "x" * 5000],
)  # fmt: skip
def test_nothing_else_exists(port, path):
    assert get(port, path)[::2] == (404, b"")


def test_other_methods_and_foreign_names_are_refused(port):
    assert get(port, "/asset.glb", "POST")[0] == 501
    assert get(port, "/asset.glb", Host="evil.example:80")[::2] == (403, b"")
    assert get(port, "/asset.glb", Host=f"localhost:{port}")[0] == 200


def test_a_range_is_served_for_seeking_in_videos(port):
    status, headers, content = get(port, "/preview.mp4", Range="bytes=10-19")
    assert (status, content) == (206, CONTENT[10:20])
    assert headers["Content-Range"] == f"bytes 10-19/{len(CONTENT)}"
    status, headers, _ = get(port, "/preview.mp4", Range=f"bytes={len(CONTENT)}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-", range(0, 100)),
        ("bytes=99-", range(99, 100)),
        ("bytes=5-500", range(5, 100)),
        ("bytes=-7", range(93, 100)),
        ("bytes=-700", range(0, 100)),
        ("bytes=100-", range(100, 100)),
        ("bytes=7-3", None),
        ("bytes=-", None),
        ("bytes=1-2,5-6", None),
        ("lines=1-2", None),
    ],
)
def test_byte_ranges(header, expected):
    assert byte_range(header, 100) == expected


def test_a_site_of_one_file_serves_only_that(tmp_path):
    for name in ("asset.glb", "private.json"):
        (tmp_path / name).write_bytes(CONTENT)
    with open_server(Site(tmp_path, {}, only="asset.glb")) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        port = server.server_address[1]
        assert get(port, "/asset.glb")[0] == 200
        assert get(port, "/private.json")[0] == 404
        server.shutdown()


def test_a_port_in_use_is_named(port, tmp_path):
    with pytest.raises(UserError, match=rf"--port {port}: is in use\. Choose another"):
        open_server(Site(tmp_path, {}), port)


def gvf(*words: str | Path, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gvf.cli", "view", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]


def test_view_serves_the_folders_own_page_until_ctrl_c(tmp_path):
    (tmp_path / "index.html").write_text("<!doctype html><title>Own</title>")
    (tmp_path / "asset.glb").write_bytes(CONTENT)
    opened = tmp_path.parent / f"{tmp_path.name}-opened"
    browser = tmp_path.parent / f"{tmp_path.name}-browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{opened}.tmp" && mv "{opened}.tmp" "{opened}"\n')
    browser.chmod(0o755)
    process = gvf(tmp_path, env=os.environ | {"BROWSER": str(browser), "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    address = process.stdout.readline().split()[0]
    port = int(address.rpartition(":")[2].strip("/"))
    assert b"<title>Own" in get(port, "/")[2]
    assert get(port, "/asset.glb")[2] == CONTENT
    for _ in range(200):
        if opened.exists():
            break
        threading.Event().wait(0.05)
    assert opened.read_text().strip() == address
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors.strip()) == (0, "Stopped.")


def test_view_refuses_what_is_no_asset(tmp_path):
    (tmp_path / "note.txt").write_text("x")
    for path, message in (
        (tmp_path, "has neither index.html nor asset.glb"),
        (tmp_path / "note.txt", "is neither a folder"),
        (tmp_path / "nowhere", "no such folder or file"),
    ):
        _, errors = (process := gvf(path, "--no-browser")).communicate(timeout=20)
        assert process.returncode == 2
        assert message in errors
