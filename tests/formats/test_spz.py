"""SPZ files, read by the documented layout and by a reader of other people."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData
from scipy.spatial.transform import Rotation

from gvf.errors import UserError
from gvf.formats.spz import save_spz
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.ply import save_ply
from tests.formats.moving import moving_object, picture, psnr
from tests.node.readers import run_node


def read_spz(path: Path) -> tuple[Gaussians, int]:
    """Read an SPZ file of version 3 as its specification says; returns the Gaussians, z up, and the flags."""
    data = gzip.decompress(path.read_bytes())
    magic, version, count, degree, bits, flags, reserved = struct.unpack("<4sIIBBBB", data[:16])
    assert (magic, version, degree, reserved) == (b"NGSP", 3, 0, 0)
    assert len(data) == 16 + 20 * count
    columns = np.split(np.frombuffer(data, np.uint8, offset=16), np.cumsum([9, 1, 3, 3]) * count)
    positions, alphas, colors, scales, rotations = (column.reshape(count, -1) for column in columns)
    whole = np.pad(positions.reshape(count, 3, 3), ((0, 0), (0, 0), (1, 0))).copy().view("<i4")[..., 0] >> 8
    x, y, z = (whole / 2.0**bits).T
    packed = rotations.copy().view("<u4")[:, 0].astype(np.int64)
    quats = np.zeros((count, 4))  # xyzw
    largest = packed >> 30
    for axis in (3, 2, 1, 0):
        stored = largest != axis
        value = (packed & 511) / 511 * np.sqrt(0.5) * np.where(packed & 512, -1, 1)
        quats[stored, axis] = value[stored]
        packed = np.where(stored, packed >> 10, packed)
    quats[np.arange(count), largest] = np.sqrt(1 - np.square(quats).sum(-1))
    i, j, k, w = quats.T
    half = np.sqrt(0.5)
    back = half * np.stack([w - i, i + w, j - k, k + j], -1)  # y up to z up: a turn by 90 degrees about x
    read = Gaussians.from_rendered(
        *(
            torch.from_numpy(values).float()
            for values in (
                np.stack([x, -z, y], -1),
                (colors / 255 - 0.5) / 0.15,
                np.exp(scales / 16 - 10),
                back,
                alphas[:, 0] / 255,
            )
        )
    )
    return read, flags


def test_a_reader_of_the_specification_sees_the_same_gaussians(tmp_path: Path) -> None:
    frame = moving_object()[1]
    save_spz(tmp_path / "frame.spz", frame, antialiased=True)
    read, flags = read_spz(tmp_path / "frame.spz")
    assert flags == 1
    torch.testing.assert_close(read.means, frame.means, rtol=0, atol=2**-23)
    torch.testing.assert_close(read.scales.log(), frame.scales.log(), rtol=0, atol=1 / 32 + 1e-4)
    torch.testing.assert_close(read.opacities, frame.opacities, rtol=0, atol=0.51 / 255)
    torch.testing.assert_close(read.colors, frame.colors, rtol=0, atol=0.51 / 255 / 0.15)
    assert float((read.quats * frame.quats).sum(-1).abs().min()) > 1 - 1e-5
    assert psnr(picture(read), picture(frame)) > 35


def test_the_package_reads_the_same_and_files_are_equal_in_every_run(tmp_path: Path) -> None:
    import gsply

    frame = moving_object(50)[0]
    save_spz(tmp_path / "frame.spz", frame, antialiased=False)
    save_spz(tmp_path / "again.spz", frame, antialiased=False)
    assert (tmp_path / "frame.spz").read_bytes() == (tmp_path / "again.spz").read_bytes()
    assert read_spz(tmp_path / "frame.spz")[1] == 0
    theirs = gsply.spz._read_spz_payload(tmp_path / "frame.spz")
    assert (theirs.n, theirs.sh_degree, theirs.uses_smallest_three) == (50, 0, True)


@pytest.mark.parametrize("extent", [0.4, 1.0, 1.5, 300.0, 4_000_000.0])
def test_positions_are_as_fine_as_24_bits_allow(tmp_path: Path, extent: float) -> None:
    one = moving_object(2)[0]
    one.means[0] = torch.tensor([extent, -extent, extent / 3])
    save_spz(tmp_path / "frame.spz", one, antialiased=True)
    read, _ = read_spz(tmp_path / "frame.spz")
    assert float((read.means[0] - one.means[0]).abs().max()) <= max(extent * 2.0**-22, 2.0**-23)


def test_positions_beyond_the_format_and_sequences_are_refused(tmp_path: Path) -> None:
    moving = moving_object(2)
    with pytest.raises(UserError, match="one frame"):
        save_spz(tmp_path / "frame.spz", moving, antialiased=True)
    moving.means[0, 0, 0] = 1e9
    with pytest.raises(UserError, match="scale the object down"):
        save_spz(tmp_path / "frame.spz", moving[0], antialiased=True)
    assert list(tmp_path.iterdir()) == []


def test_the_reference_implementation_sees_the_axes_of_our_ply(tmp_path: Path, node_modules: Path) -> None:
    frame = moving_object(200)[1]
    save_spz(tmp_path / "frame.spz", frame, antialiased=True)
    save_ply(tmp_path / "frame.ply", frame)
    read = run_node("spz.mjs", tmp_path / "frame.spz")
    rows = PlyData.read(tmp_path / "frame.ply")["vertex"].data
    assert (read["antialiased"], read["degree"]) == (True, 0)
    for name, columns, tolerance in (
        ("positions", "x y z", 2**-22),
        ("scales", "scale_0 scale_1 scale_2", 1 / 32 + 1e-4),
        ("colors", "f_dc_0 f_dc_1 f_dc_2", 0.51 / 255 / 0.15),
        ("alphas", "opacity", 0.03),
    ):
        expected = np.stack([rows[column] for column in columns.split()], -1)
        np.testing.assert_allclose(np.reshape(read[name], expected.shape), expected, rtol=0, atol=tolerance)
    quats = np.stack([rows[f"rot_{index}"] for index in (1, 2, 3, 0)], -1)
    theirs = Rotation.from_quat(np.reshape(read["rotations"], (-1, 4))).as_matrix()
    axes = np.abs((theirs * Rotation.from_quat(quats).as_matrix()).sum(-2))  # a Gaussian's axes have no sign
    assert axes.min() > 1 - 1e-4
