"""Folders of numbered frames appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from gvf.formats.numbered import holds_only_frames, save_numbered
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.ply import save_ply
from gvf.progress import Progress
from tests.formats.moving import moving_object


def test_a_frame_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing(path: Path, moment: Gaussians) -> None:
        if path.name == "frame_0008.ply":
            raise OSError("disk")
        save_ply(path, moment)

    with Progress().step("write") as step, pytest.raises(OSError, match="disk"):
        save_numbered(tmp_path / "frames", moving_object(4), range(7, 10), ".ply", failing, step)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_frames_is_told_from_others(tmp_path: Path) -> None:
    assert holds_only_frames(tmp_path, ".ply")
    for name in ("frame_0000.ply", "frame_12345.ply"):
        (tmp_path / name).touch()
    assert holds_only_frames(tmp_path, ".ply")
    assert not holds_only_frames(tmp_path, ".spz")
    for name in ("frame_001.ply", "frame_0001.ply.bak", "scan_0001.ply"):
        (tmp_path / name).touch()
        assert not holds_only_frames(tmp_path, ".ply")
        (tmp_path / name).unlink()
    (tmp_path / "frame_0001.ply").mkdir()
    assert not holds_only_frames(tmp_path, ".ply")
