"""The table beside the assets of a folder: what is taken from it, and what a hostile one cannot do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gvf.data.sources import folder_manifest
from gvf.data.sources.folder_manifest import Manifests, read_manifest_file
from gvf.data.sources.source import AssetFacts


def _write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_known_columns_are_taken_whatever_their_order_and_the_others_ignored(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "\ufeffrig,bytes,author,file,licence,kind,pack,source_repo\n"
        '5c1,12,"Ana, B.",a/fox.glb,CC0-1.0,animal,foxes,ana/foxes\n'
        ",,,cat.glb,,,,\n",
    )
    assert read_manifest_file(path) == {
        "a/fox.glb": AssetFacts("animal", "5c1", "CC0-1.0", "Ana, B.", "foxes", "ana/foxes"),
        "cat.glb": AssetFacts(),
    }
    path = _write(tmp_path, "file,skeleton,rig,license\nfox.glb,own,5c1,MIT\nfox.glb,second,5c1,GPL\n")
    assert read_manifest_file(path) == {"fox.glb": AssetFacts(skeleton="own", licence="MIT")}


def test_text_is_cleaned_and_bounded(tmp_path: Path) -> None:
    path = _write(tmp_path, f'file,author,kind,licence\nfox.glb,"a\u202eb\x1b[31m\nc",{"k" * 500},\u200b \n')
    facts = (read_manifest_file(path) or {})["fox.glb"]
    assert facts.author == "ab [31m c"
    assert facts.kind is not None
    assert len(facts.kind) == 40
    assert facts.licence is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name,licence\nfox.glb,CC0\n", "has no column 'file'"),
        (b"", "has no column 'file'"),
        (b"file,kind\n\xff\xfe.glb,x\n", "can't decode"),
        (b"file,kind\nfox.glb," + b"k" * 200_000 + b"\n", "field larger"),
        (b"file\n" + b"fox.glb\n" * 5, "more than 3 rows"),
        (b"file\n" + b"x" * 300, "larger than"),
    ],
)
def test_a_table_that_cannot_be_used_is_ignored_with_the_reason(
    content: bytes, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_manifest, "MAX_ROWS", 3)
    monkeypatch.setattr(folder_manifest, "MAX_BYTES", 1 << 24 if words != "larger than" else 100)
    (tmp_path / "manifest.csv").write_bytes(content)
    assert read_manifest_file(tmp_path / "manifest.csv") is None
    (message,) = [record.getMessage() for record in caplog.records]
    assert "manifest.csv is ignored" in message
    assert words in message


def test_nothing_but_a_regular_file_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "secret").write_text("file,author\nfox.glb,secret\n")
    (tmp_path / "manifest.csv").symlink_to(tmp_path / "secret")
    assert read_manifest_file(tmp_path / "manifest.csv") is None
    (tmp_path / "manifest.csv").unlink()
    os.mkfifo(tmp_path / "manifest.csv")  # opening it would block
    assert read_manifest_file(tmp_path / "manifest.csv") is None
    assert [record.getMessage().count("a link or no regular file") for record in caplog.records] == [1, 1]
    assert read_manifest_file(tmp_path / "absent" / "manifest.csv") is None
    assert len(caplog.records) == 2


def test_the_nearest_table_that_lists_a_file_counts_and_the_differences_are_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _write(tmp_path, "file,kind\npack/fox.glb,outer\npack/cat.glb,outer\n../../etc/passwd,outer\ngone.glb,outer\n")
    _write(tmp_path / "pack", "file,kind\nfox.glb,inner\n")
    _write(tmp_path.parent, "file,kind\nother.glb,above the searched folder\n")
    manifests = Manifests(tmp_path)
    names = ["pack/fox.glb", "pack/cat.glb", "other.glb", "pack/other.glb"]
    assert [manifests.facts(tmp_path / name).kind for name in names] == ["inner", "outer", None, None]
    manifests.report()
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "The licence of 2 files is unknown, since no manifest.csv lists them; the first is other.glb."
    assert (
        "manifest.csv lists 2 files that are not there or not collected; the first is ../../etc/passwd" in messages[1]
    )
    assert len(messages) == 2
