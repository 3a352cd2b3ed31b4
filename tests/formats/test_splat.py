"""The .splat file: its bytes by hand, and an image of what a reader of the documented layout sees."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from gvf.errors import UserError
from gvf.formats.splat import save_splat
from gvf.gaussians.gaussians import Gaussians
from tests.formats.moving import moving_object, picture, psnr


def read_splat(path: Path) -> Gaussians:
    """Read a .splat file row by row, and turn it back to z up."""
    data = path.read_bytes()
    rows = [struct.unpack_from("<6f8B", data, 32 * index) for index in range(len(data) // 32)]
    values = torch.tensor(rows)
    x, y, z = values[:, :3].unbind(-1)
    rgb = values[:, 6:9] / 255
    w, i, j, k = torch.nn.functional.normalize((values[:, 10:14] - 128) / 128, dim=-1).unbind(-1)
    half = 0.5**0.5
    back = half * torch.stack([w + i, i - w, j + k, k - j], -1)  # a turn by -90 degrees about x after (w, i, j, k)
    return Gaussians.from_rendered(
        torch.stack([x, z, -y], -1), (rgb - 0.5) / 0.28209479, values[:, 3:6], back, values[:, 9] / 255
    )


def test_bytes_are_the_documented_layout_and_the_largest_comes_first(tmp_path: Path) -> None:
    two = Gaussians.from_rendered(
        means=torch.tensor([[0.0, 0.0, 0.0], [0.25, 0.5, -1.0]]),
        colors=torch.tensor([[0.0, 0.0, 0.0], [9.0, -9.0, 0.0]]),
        scales=torch.tensor([[0.01, 0.01, 0.01], [0.1, 0.2, 0.3]]),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 2),
        opacities=torch.tensor([0.9, 0.8]),
    )
    save_splat(tmp_path / "two.splat", two)
    data = (tmp_path / "two.splat").read_bytes()
    assert len(data) == 64
    first, second = (struct.unpack_from("<6f8B", data, offset) for offset in (0, 32))
    np.testing.assert_allclose(first[:6], [0.25, 1.0, 0.5, 0.1, 0.2, 0.3], rtol=1e-5)
    assert first[6:] == (255, 0, 128, 204, 219, 219, 128, 128)  # 128 + 128 sqrt(1/2) is 218.5
    np.testing.assert_allclose(second[:3], 0)
    assert second[9] == 230


def test_a_reader_sees_the_same_image(tmp_path: Path) -> None:
    frame = moving_object()[1]
    save_splat(tmp_path / "frame.splat", frame)
    read = read_splat(tmp_path / "frame.splat")
    assert psnr(picture(read), picture(frame)) > 45
    weights = read.scales.prod(-1) * read.opacities
    assert bool((weights[1:] < 1.01 * weights[:-1]).all())  # opacities are rounded


def test_a_sequence_and_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    moving = moving_object(5)
    with pytest.raises(UserError, match="one frame"):
        save_splat(tmp_path / "frame.splat", moving)
    moving.means[1, 2, 0] = float("nan")
    with pytest.raises(UserError, match=r"means .* NaN"):
        save_splat(tmp_path / "frame.splat", moving[1])
    assert list(tmp_path.iterdir()) == []
