"""Downloads go on where they broke off, are checked, and say what to do where there is no network."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gvf.published_files import WebFile
from gvf.weights.download import DownloadError, download, fetch
from tests.weights.file_server import FileServer, serve

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve({"/w.bin": CONTENT}) as running:
        yield running


def closed_port() -> str:
    """An address that refuses connections."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def test_a_file_is_fetched_whole_and_only_once(server: FileServer, tmp_path: Path) -> None:
    file = WebFile(f"{server.url}/w.bin", "w.bin", DIGEST[:8])
    for _ in range(2):
        assert download(file, tmp_path) == [tmp_path / "w.bin"]
    assert (tmp_path / "w.bin").read_bytes() == CONTENT
    assert server.asked == [("GET", "/w.bin", None)]
    assert [path.name for path in tmp_path.iterdir()] == ["w.bin"]


def test_a_broken_download_goes_on_where_it_was(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "deep" / "w.bin"
    server.breaks_after = 4000
    for have in (4000, 8000):
        with pytest.raises(DownloadError, match=rf"broke off after {have} of 10240 bytes. Run the command again"):
            fetch(f"{server.url}/w.bin", target, len(CONTENT), DIGEST)
        assert not target.exists()
    fetch(f"{server.url}/w.bin", target, len(CONTENT), DIGEST)
    assert target.read_bytes() == CONTENT
    assert [asked for _, _, asked in server.asked] == [None, "bytes=4000-", "bytes=8000-"]
    assert "w.bin" in capsys.readouterr().err  # the progress bar


def test_a_server_without_ranges_sends_the_whole_again(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "w.bin.partial").write_bytes(b"other")
    server.ranges = False
    fetch(f"{server.url}/w.bin", tmp_path / "w.bin", None, "")
    assert (tmp_path / "w.bin").read_bytes() == CONTENT


def test_a_whole_partial_is_only_renamed(server: FileServer, tmp_path: Path) -> None:
    for size in (len(CONTENT), None):
        (tmp_path / "w.bin.partial").write_bytes(CONTENT)
        fetch(f"{server.url}/w.bin", tmp_path / "w.bin", size, DIGEST)
        assert (tmp_path / "w.bin").read_bytes() == CONTENT


def test_other_bytes_are_not_kept(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="not the published file"):
        fetch(f"{server.url}/w.bin", tmp_path / "w.bin", len(CONTENT), "0" * 64)
    (tmp_path / "w.bin.partial").write_bytes(b"x" * len(CONTENT))
    with pytest.raises(DownloadError, match="not the published file"):
        fetch(f"{server.url}/w.bin", tmp_path / "w.bin", len(CONTENT), DIGEST)
    assert not list(tmp_path.iterdir())


def test_missing_files_and_refused_connections_say_what_to_do(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"none\.bin: cannot be fetched \(.*404.*copy it to .*w\.bin"):
        fetch(f"{server.url}/none.bin", tmp_path / "w.bin", None, "")
    with pytest.raises(DownloadError, match=r"cannot be fetched \(.*refused.*copy it to .*w\.bin"):
        fetch(f"{closed_port()}/w.bin", tmp_path / "w.bin", None, "")
    assert not list(tmp_path.iterdir())
