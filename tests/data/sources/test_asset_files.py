"""The search for glTF files in a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gvf.data.sources.asset_files import find_assets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two assets and other files, beside a folder with one more asset."""
    for name in ("in/b/x.GLB", "in/a.gltf", "in/a.bin", "in/notes.txt", "out/far.glb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "in"


def _names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_assets(folder).paths]


def test_files_come_sorted_and_links_are_followed(folder: Path) -> None:
    assert _names(folder) == ["a.gltf", "b/x.GLB"]
    (folder / "b/link").symlink_to(folder.parent / "out")
    (folder / "linked.glb").symlink_to(folder.parent / "out/far.glb")
    assert _names(folder) == ["a.gltf", "b/link/far.glb", "b/x.GLB"]
    (folder / "b/link").unlink()
    assert _names(folder) == ["a.gltf", "b/x.GLB", "linked.glb"]
    (folder.parent / "door").symlink_to(folder)
    assert _names(folder.parent / "door") == _names(folder)


def test_each_file_counts_once_under_its_own_path(folder: Path) -> None:
    (folder / "a-link-to-b").symlink_to(folder / "b")
    (folder / "0.glb").symlink_to(folder / "b/x.GLB")
    (folder / "b/in").symlink_to(folder)
    found = find_assets(folder)
    assert [path.relative_to(folder).as_posix() for path in found.paths] == ["a.gltf", "b/x.GLB"]
    assert found.passed_over == ()


def test_links_upwards_and_to_nothing_are_named(folder: Path) -> None:
    (folder / "up").symlink_to("..")
    (folder / "b/gone.glb").symlink_to("nowhere")
    (folder / "b/self.glb").symlink_to("self.glb")
    os.mkfifo(folder / "pipe.glb")
    found = find_assets(folder)
    assert _names(folder) == ["a.gltf", "b/x.GLB"]
    assert sorted(found.passed_over) == [
        f"{folder}/b/gone.glb: is a broken link",
        f"{folder}/b/self.glb: cannot be read (Too many levels of symbolic links)",
        f"{folder}/pipe.glb: is not a regular file",
        f"{folder}/up: leads to a folder that holds {folder} itself",
    ]


def test_a_folder_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def refused(path: Path) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr("gvf.data.sources.asset_files.os.scandir", refused)
    found = find_assets(folder)
    assert found.passed_over == (f"{folder}/b: cannot be read (Permission denied)",)
    assert [path.name for path in found.paths] == ["a.gltf"]


def test_a_file_that_cannot_be_reached_is_named_and_others_are_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder that may be listed but not entered, or under a path longer than the system accepts."""
    status = Path.stat

    def refused(path: Path, **options: bool) -> os.stat_result:
        if path.name == "x.GLB":
            raise OSError(36, "File name too long")
        return status(path, **options)

    monkeypatch.setattr(Path, "stat", refused)
    found = find_assets(folder)
    assert found.passed_over == (f"{folder}/b/x.GLB: cannot be read (File name too long)",)
    assert [path.name for path in found.paths] == ["a.gltf"]


def test_metadata_files_of_macos_are_counted_and_left_out(folder: Path) -> None:
    (folder / "__MACOSX/b").mkdir(parents=True)
    for name in ("._a.gltf", "b/._x.GLB", "__MACOSX/b/._x.GLB", "__MACOSX/._a.gltf", "__MACOSX/._notes.txt"):
        (folder / name).touch()
    found = find_assets(folder)
    assert found.num_forks == 4
    assert _names(folder) == ["a.gltf", "b/x.GLB"]
