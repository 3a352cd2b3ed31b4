"""Splat files: exact bytes of the header, the axes, and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.ply import load_ply, save_ply


def some_gaussians(count: int = 20) -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    return Gaussians(*(torch.randn(count, width, generator=generator) for width in (3, 3, 3, 4)), torch.randn(count))


def test_columns_and_axes(tmp_path: Path) -> None:
    gaussians = some_gaussians()
    save_ply(tmp_path / "frame.ply", gaussians)
    header, body = (tmp_path / "frame.ply").read_bytes().split(b"end_header\n")
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\nelement vertex 20\nproperty float x\n")
    names = [line.split()[2].decode() for line in header.split(b"\n") if line.startswith(b"property")]
    table = dict(zip(names, np.frombuffer(body, "<f4").reshape(20, 17).T))
    turn = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # up, +z, becomes -y
    found = np.stack([table[axis] for axis in "xyz"], -1)
    np.testing.assert_allclose(found, gaussians.means.numpy() @ turn.T, atol=1e-6)
    assert not table["nx"].any()
    quats = np.stack([table[f"rot_{i}"] for i in range(4)], -1)
    ours = Rotation.from_quat(gaussians.quats.numpy(), scalar_first=True).as_matrix()
    np.testing.assert_allclose(Rotation.from_quat(quats, scalar_first=True).as_matrix(), turn @ ours, atol=1e-6)
    np.testing.assert_allclose(np.exp(table["scale_1"]), gaussians.scales[:, 1], rtol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-table["opacity"])), gaussians.opacities, rtol=1e-4)
    np.testing.assert_array_equal(table["f_dc_2"], gaussians.colors[:, 2])


def test_there_and_back(tmp_path: Path) -> None:
    gaussians = some_gaussians()
    save_ply(tmp_path / "frame.ply", gaussians)
    restored = load_ply(tmp_path / "frame.ply")
    torch.testing.assert_close(restored.to_activated14(), gaussians.to_activated14(), atol=1e-5, rtol=1e-4)


def test_further_properties_and_other_number_types_are_fine(tmp_path: Path) -> None:
    gaussians = some_gaussians(3)
    save_ply(tmp_path / "frame.ply", gaussians)
    header, body = (tmp_path / "frame.ply").read_bytes().split(b"end_header\n")
    plain = np.frombuffer(body, "<f4").reshape(3, 17)
    wide = np.zeros(3, [(f"c{i}", "<f8") for i in range(17)] + [("f_rest_0", "u1")])
    for i in range(17):
        wide[f"c{i}"] = plain[:, i]
    new = header.replace(b"property float", b"property double") + b"property uchar f_rest_0\nend_header\n"
    (tmp_path / "wide.ply").write_bytes(new + wide.tobytes())
    torch.testing.assert_close(
        load_ply(tmp_path / "wide.ply").to_activated14(), load_ply(tmp_path / "frame.ply").to_activated14()
    )


def test_files_that_are_no_splats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "frame.ply"
    with pytest.raises(UserError, match="cannot be read"):
        load_ply(path)
    save_ply(path, some_gaussians())
    good = path.read_bytes()
    for content, message in (
        (b"solid cube\n", "not a PLY"),
        (good[:-1], "truncated"),
        (good.replace(b"binary_little_endian", b"ascii"), "only binary_little_endian"),
        (good.replace(b"rot_3", b"other"), "no property rot_3"),
        (good.replace(b"property float x", b"property list uchar int x"), "cannot read"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            load_ply(path)
    with pytest.raises(UserError, match="one frame"):
        save_ply(path, some_gaussians().map(lambda tensor: tensor[None]))
