"""Folders of numbered frames appear whole or not at all."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from gvf.formats.numbered import holds_only_frames, save_numbered
from gvf.gaussians.axes import Y_DOWN, turn_quats
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.ply import save_ply
from gvf.progress import Progress
from tests.formats.moving import moving_object
from tests.node.readers import run_node


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


def test_three_js_reads_the_frames(tmp_path: Path, node_modules: Path) -> None:
    moving = moving_object(30)
    with Progress().step("write") as step:
        save_numbered(tmp_path / "frames", moving, range(3), ".ply", partial(save_ply, comments=["a comment"]), step)
    read = run_node("ply.mjs", tmp_path / "frames" / "frame_0002.ply")
    x, y, z = moving.means[2].unbind(-1)
    for name, expected in (
        ("position", torch.stack([x, -z, y], -1)),
        ("colors", moving.colors[2]),
        ("opacity", moving.opacities[2].logit()),
        ("scales", moving.scales[2].log()),
        ("quats", turn_quats(moving.quats[2], Y_DOWN)),
    ):
        torch.testing.assert_close(torch.tensor(read[name]), expected.flatten(), rtol=1e-4, atol=1e-5)
