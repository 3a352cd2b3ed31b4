"""Splat files: exact bytes of the header, the axes, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

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


def parts(path: Path, count: int = 5) -> tuple[bytes, np.ndarray]:
    """The header, without its last line, and the rows of a file of ours."""
    save_ply(path, some_gaussians(count))
    head, body = path.read_bytes().split(b"end_header\n")
    return head, np.frombuffer(body, "<f4").reshape(count, 17).copy()


def test_written_bytes_are_the_documented_layout(tmp_path: Path) -> None:
    names = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3)), "opacity"]
    names += [*(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    lines = ["ply", "format binary_little_endian 1.0", "element vertex 3", *(f"property float {n}" for n in names)]
    one = Gaussians.from_rendered(
        means=torch.tensor([[1.0, 2.0, 3.0]]).repeat(3, 1),
        colors=torch.zeros(3, 3),
        scales=torch.full((3, 3), 1.0),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(3, 1),
        opacities=torch.full((3,), 0.5),
    )
    for name in ("a.ply", "b.ply"):
        save_ply(tmp_path / name, one)
    content = (tmp_path / "a.ply").read_bytes()
    assert content == (tmp_path / "b.ply").read_bytes()
    half = np.sqrt(0.5)
    row = [1, -3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, half, half, 0, 0]
    header = ("\n".join([*lines, "end_header"]) + "\n").encode()
    assert content[: len(header)] == header
    np.testing.assert_allclose(np.frombuffer(content[len(header) :], "<f4").reshape(3, 17), [row] * 3, atol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {"a.ply", "b.ply"}


def test_all_formats_and_line_ends_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "frame.ply"
    head, rows = parts(path)
    expected = load_ply(path).to_activated14()
    text = "\n".join(" ".join(f"{value:.9g}" for value in row) for row in rows).encode()
    camera = head.replace(b"element vertex", b"element camera 1\nproperty float fov\nelement vertex")
    faces = b"element face 2\nproperty list uchar int vertex_indices\n"
    for content in (
        head.replace(b"\n", b"\r\n") + b"end_header\r\n" + rows.tobytes(),
        head.replace(b"\n", b"\r") + b"end_header\r" + rows.tobytes(),
        head.replace(b"little", b"big") + b"end_header\n" + rows.astype(">f4").tobytes(),
        head.replace(b"binary_little_endian", b"ascii") + b"comment made by hand\nend_header\n" + text + b"\n",
        camera + b"end_header\n" + b"1234" + rows.tobytes(),
        head + faces + b"end_header\n" + rows.tobytes() + b"\x01abcd\x00",
        head + b"end_header\n" + rows.tobytes() + b"more",
    ):
        path.write_bytes(content)
        torch.testing.assert_close(load_ply(path).to_activated14(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("x", 0, np.nan, "row 3: property x is nan"),
        ("opacity", 9, np.inf, "row 3: property opacity is inf"),
        ("scale_1", 11, -np.inf, "row 3: property scale_1 is -inf"),
        ("scale_2", 12, 1000.0, "row 3: property scale_2 is 1000, too large"),
        ("rot", slice(13, 17), 0.0, "row 3: rot_0 to rot_3 are all zero"),
    ],
)
def test_values_that_are_no_gaussian_name_row_and_property(
    tmp_path: Path, name: str, column: int | slice, value: float, message: str
) -> None:
    path = tmp_path / f"{name}.ply"
    head, rows = parts(path)
    rows[3, column] = value
    path.write_bytes(head + b"end_header\n" + rows.tobytes())
    with pytest.raises(UserError, match=message):
        load_ply(path)


def test_a_double_beyond_float32_is_refused_and_a_large_opacity_is_opaque(tmp_path: Path) -> None:
    path = tmp_path / "frame.ply"
    head, rows = parts(path)
    wide = np.zeros(5, [("x", "<f8")] + [(f"c{i}", "<f4") for i in range(1, 17)])
    wide["x"], wide["c9"] = rows[:, 0], 500.0
    for i in (*range(1, 9), *range(10, 17)):
        wide[f"c{i}"] = rows[:, i]
    head = head.replace(b"property float x", b"property double x")
    path.write_bytes(head + b"end_header\n" + wide.tobytes())
    opacities = load_ply(path).opacities
    assert bool(torch.isfinite(opacities).all())
    assert float(opacities.min()) > 0.99
    wide["x"][2] = 1e300
    path.write_bytes(head + b"end_header\n" + wide.tobytes())
    with pytest.raises(UserError, match=r"row 2: property x is 1e\+300"):
        load_ply(path)


def test_what_is_not_finite_is_not_written(tmp_path: Path) -> None:
    nan = some_gaussians(2)
    nan.means[1, 0] = float("nan")
    with pytest.raises(UserError, match="row 1: property x is nan"):
        save_ply(tmp_path / "nan.ply", nan)
    assert not (tmp_path / "nan.ply").exists()


HOSTILE = {
    "no count": (b"vertex 5", b"vertex", "how many rows"),
    "negative count": (b"vertex 5", b"vertex -5", "how many rows"),
    "fraction": (b"vertex 5", b"vertex 5.0", "how many rows"),
    "huge count": (b"vertex 5", b"vertex 99999999999999", "truncated: 99999999999999 rows"),
    "endless count": (b"vertex 5", b"vertex " + b"9" * 40, "how many rows"),
    "six rows": (b"vertex 5", b"vertex 6", "truncated"),
    "no rows": (b"vertex 5", b"vertex 0", "0 vertices"),
    "two vertices": (b"element", b"element vertex 1\nproperty float a\nelement", "element vertex twice"),
    "duplicate": (b"float rot_3\n", b"float rot_3\nproperty float x\n", "property x of element vertex twice"),
    "list": (b"property float x", b"property list uchar int x", "list property"),
    "unknown type": (b"property float x", b"property quad x", "'quad'"),
    "no type": (b"property float x\n", b"property float\n", "no property x"),
    "no format": (b"format binary_little_endian 1.0\n", b"", "format"),
    "other version": (b"1.0", b"2.0", "version"),
    "other format": (b"binary_little_endian", b"binary_middle_endian", "binary_middle_endian"),
    "many faces": (
        b"element",
        b"element face 99999999999\nproperty list uint int i\nelement",
        "truncated: 99999999999",
    ),
    "long list": (b"element", b"element face 1\nproperty list uint double i\nelement", "truncated"),
    "empty rows": (b"element", b"element camera 9\nelement", "9 rows and no property"),
    "not ascii": (b"element", b"comment J\xc3\xb6rg\nelement", "not ASCII"),
    "mixed line ends": (b"float y\n", b"float y\r\n", "end in different ways"),
    "no vertices": (b"element vertex", b"element point", "no element vertex"),
    "not a splat": (b"rot_3", b"other", "no property rot_3"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_are_refused_by_name(tmp_path: Path, case: str) -> None:
    path = tmp_path / "frame.ply"
    head, rows = parts(path)
    before, after, message = HOSTILE[case]
    path.write_bytes(head.replace(before, after, 1) + b"end_header\n" + rows.tobytes())
    with pytest.raises(UserError, match=message) as caught:
        load_ply(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_ply_or_broke_off_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "frame.ply"
    with pytest.raises(UserError, match="cannot be read"):
        load_ply(path)
    head, rows = parts(path)
    good = path.read_bytes()
    text = "\n".join(" ".join(map(str, row)) for row in rows).encode()
    ascii_head = head.replace(b"binary_little_endian", b"ascii") + b"end_header\n"
    for content, message in (
        (b"", "not a PLY"),
        (b"solid cube\n", "not a PLY"),
        (good[:-1], "truncated"),
        (head, "without its end"),
        (b"ply\n" + b"a" * 3_000_000, "without its end"),
        (ascii_head + text[: len(text) // 2], "row 2"),
        (ascii_head + text.replace(b" ", b" one", 1), "row 0: property 'y'"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            load_ply(path)
    with pytest.raises(UserError, match="one frame"):
        save_ply(path, some_gaussians().map(lambda tensor: tensor[None]))


@pytest.mark.parametrize(("up", "expected"), [("-y", [1, 3, -2]), ("z", [1, 2, 3]), ("y", [1, -3, 2])])
def test_files_with_another_up_axis(tmp_path: Path, up: Literal["y", "z", "-y"], expected: list[float]) -> None:
    """A Gaussian at (1, 2, 3) of the file, longest along the file's y, stands there in our axes."""
    path = tmp_path / "a.ply"
    names = [*"xyz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"]
    names += ["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    head = "".join(f"property float {name}\n" for name in names)
    path.write_text(f"ply\nformat ascii 1.0\nelement vertex 1\n{head}end_header\n1 2 3 0 0 0 0 -5 -2 -5 1 0 0 0\n")
    gaussians = load_ply(path, up=up)
    torch.testing.assert_close(gaussians.means, torch.tensor([expected]).float())
    matrix = Rotation.from_quat(gaussians.quats[0].numpy()[[1, 2, 3, 0]]).as_matrix()
    long_axis = matrix[:, int(gaussians.scales[0].argmax())]
    np.testing.assert_allclose(np.abs(long_axis), [0, 0, 1] if up != "z" else [0, 1, 0], atol=1e-6)
