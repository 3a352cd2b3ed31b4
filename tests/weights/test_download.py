"""Downloads resume where they broke off, are verified, and say what to do where there is no network."""

from __future__ import annotations

import errno
import hashlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from gvf.storage.published_files import WebFile
from gvf.weights import download as download_module
from gvf.weights.download import DownloadError, download, fetch
from tests.weights.file_server import FileServer, raw_server, serve

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
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("left", [b"x" * 100, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 5)], ids=len)
@pytest.mark.parametrize("size", [None, len(CONTENT)])
@pytest.mark.parametrize("digest", ["", DIGEST])
def test_a_stale_beginning_is_replaced(
    left: bytes, size: int | None, digest: str, server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "w.bin.partial").write_bytes(left)
    fetch(f"{server.url}/w.bin", tmp_path / "w.bin", size, digest)
    assert (tmp_path / "w.bin").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["w.bin"]


def test_without_a_digest_only_the_version_that_was_begun_is_continued(server: FileServer, tmp_path: Path) -> None:
    target, url = tmp_path / "w.bin", f"{server.url}/w.bin"
    server.breaks_after = 4000
    with pytest.raises(DownloadError, match="broke off"):
        fetch(url, target, None, "")
    server.breaks_after = None
    fetch(url, target, None, "")
    assert target.read_bytes() == CONTENT
    assert server.asked[-1] == ("GET", "/w.bin", "bytes=4000-")
    target.unlink()
    server.breaks_after = 4000
    with pytest.raises(DownloadError, match="broke off"):
        fetch(url, target, None, "")
    server.breaks_after, server.files = None, {"/w.bin": CONTENT[::-1]}
    fetch(url, target, None, "")
    assert target.read_bytes() == CONTENT[::-1]
    assert [path.name for path in tmp_path.iterdir()] == ["w.bin"]


PAGE = b"<!DOCTYPE html><html><head><title>Log in</title></head></html>"


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (PAGE, "w.pt", 'a web page ."Log in"'),
        (PAGE, "config.json", "a web page .*not JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "w.safetensors", "a Git LFS pointer"),
        (b'{"error": "gated"}', "w.pt", 'a JSON text ."gated"'),
        (b"Entry not found", "w.pt", "Entry not found"),
        (b"", "w.pt", "0 bytes"),
        (save({"a": torch.ones(9)})[:-4], "w.safetensors", "cut short"),
    ],
)
def test_what_a_server_sends_in_place_of_a_file_is_not_kept(
    content: bytes, name: str, message: str, tmp_path: Path
) -> None:
    with (
        serve({f"/{name}": content}) as server,
        pytest.raises(DownloadError, match=f"not the published file: .*{message}"),
    ):
        fetch(f"{server.url}/{name}", tmp_path / name, None, "")
    assert not list(tmp_path.iterdir())


def test_json_is_a_file_where_json_was_asked_for(tmp_path: Path) -> None:
    with serve({"/config.json": b'{"a": 1}'}) as server:
        fetch(f"{server.url}/config.json", tmp_path / "config.json", None, "")
    assert (tmp_path / "config.json").read_bytes() == b'{"a": 1}'


def reply(status: str, headers: str = "", body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n".encode() + body


LENGTH = f"Content-Length: {len(CONTENT)}\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
RAW = {
    "chunk cut inside": (reply("200 OK", CHUNKED, b"1000\r\n" + CONTENT[:100]), "broke off after 100 bytes"),
    "chunk cut at its end": (
        reply("200 OK", CHUNKED, b"64\r\n" + CONTENT[:100] + b"\r\n"),
        "broke off after 100 bytes",
    ),
    "chunk without size": (reply("200 OK", CHUNKED, b"soup\r\n" + CONTENT[:100]), "broke off|cannot be fetched"),
    "cut": (reply("200 OK", LENGTH, CONTENT[:100]), "broke off after 100 of 10240"),
    "hung up": (b"", "cannot be fetched .*closed connection"),
    "no HTTP": (b"garbage garbage\r\n\r\n", "no answer in HTTP"),
    "half a head": (b"HTTP/1.1 200 O", "cannot be fetched|0 bytes|not the published"),
    "endless head": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000, "LineTooLong"),
    "gzip": (reply("200 OK", f"Content-Encoding: gzip\r\n{LENGTH}", CONTENT), "sent with encoding gzip"),
    "other size": (
        reply("200 OK", "Content-Length: 100\r\n", CONTENT[:100]),
        "100 bytes, but the published file has 10240",
    ),
    "too much": (reply("200 OK", "", CONTENT + b"more"), "sends more than the expected or available 10240"),
    "no content": (reply("204 No Content"), "status 204"),
    "error": (reply("503 Service Unavailable", "Content-Length: 0\r\n"), "503"),
    "to a file": (reply("302 Found", "Location: file:///etc/hostname\r\n"), "cannot be fetched .*file:///etc/hostname"),
    "to ftp": (reply("302 Found", "Location: ftp://127.0.0.1/w.bin\r\n"), "not a safe web address"),
    "to nowhere": (reply("302 Found", "Location: http://[::1\r\n"), "cannot be fetched"),
    "a range of its own": (
        reply("206 Partial Content", "Content-Range: bytes 5-9/10\r\n", b"12345"),
        "was not requested",
    ),
}


@pytest.mark.parametrize("case", RAW)
def test_ill_answers_are_refused(case: str, tmp_path: Path) -> None:
    answer, message = RAW[case]
    with raw_server(answer) as url, pytest.raises(DownloadError, match=message):
        fetch(f"{url}/w.bin", tmp_path / "w.bin", len(CONTENT), DIGEST)
    assert not (tmp_path / "w.bin").exists()


@pytest.mark.parametrize("stated", ["bytes 50-10239/10240", "bytes nonsense", "bytes 0-10239/10240", ""])
def test_a_wrong_range_is_never_appended(stated: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin.partial").write_bytes(CONTENT[:100])
    header = f"Content-Range: {stated}\r\n" if stated else ""
    try:
        with raw_server(reply("206 Partial Content", header + LENGTH, CONTENT)) as url:
            fetch(f"{url}/w.bin", tmp_path / "w.bin", len(CONTENT), DIGEST)
    except DownloadError:
        assert not (tmp_path / "w.bin").exists()
    else:
        assert (tmp_path / "w.bin").read_bytes() == CONTENT


def test_a_web_page_does_not_cost_what_is_here(tmp_path: Path) -> None:
    (tmp_path / "w.bin.partial").write_bytes(CONTENT[:100])
    page = reply("200 OK", "Content-Type: text/html; charset=utf-8\r\n", PAGE)
    with raw_server(page) as url, pytest.raises(DownloadError, match="now answers with a web page; the 100 bytes"):
        fetch(f"{url}/w.bin", tmp_path / "w.bin", len(CONTENT), DIGEST)
    assert (tmp_path / "w.bin.partial").read_bytes() == CONTENT[:100]


def test_a_server_that_hangs_or_trickles_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "_TIMEOUT", 0.3)
    with raw_server(None) as url, pytest.raises(DownloadError, match=r"cannot be fetched .*timed out"):
        fetch(f"{url}/w.bin", tmp_path / "w.bin", len(CONTENT), DIGEST)
    monkeypatch.setattr(download_module, "_SLOW_SPAN", 0.2)
    with raw_server(reply("200 OK", LENGTH), trickle=True) as url, pytest.raises(DownloadError, match="too slow"):
        fetch(f"{url}/w.bin", tmp_path / "w.bin", len(CONTENT), DIGEST)
    assert not (tmp_path / "w.bin").exists()


def test_only_web_addresses_are_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    for url in (f"file://{tmp_path}/secret", "ftp://127.0.0.1/w", "data:,x", str(tmp_path / "secret"), "http://[::1"):
        with pytest.raises((DownloadError), match=r"must begin with http|cannot be fetched"):
            fetch(url, tmp_path / "w.bin", None, "")
    assert not (tmp_path / "w.bin").exists()


def test_a_full_disk_is_said(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: usage._replace(free=70_000_000))
    with (
        serve({"/big": bytes(4_000_000)}) as big,
        pytest.raises(DownloadError, match=r"4,000,000 bytes are still needed.*GVF_WEIGHTS"),
    ):
        fetch(f"{big.url}/big", tmp_path / "big", None, "")

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download_module, "_copy", no_room)
    with pytest.raises(DownloadError, match=r"cannot be written to .*No space left"):
        fetch(f"{server.url}/w.bin", tmp_path / "w.bin", len(CONTENT), DIGEST)


def test_missing_files_and_refused_connections_say_what_to_do(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"none\.bin: cannot be fetched \(.*404.*copy it to .*w\.bin"):
        fetch(f"{server.url}/none.bin", tmp_path / "w.bin", None, "")
    with pytest.raises(DownloadError, match=r"cannot be fetched \(.*refused.*copy it to .*w\.bin"):
        fetch(f"{closed_port()}/w.bin", tmp_path / "w.bin", None, "")
    assert not list(tmp_path.iterdir())
