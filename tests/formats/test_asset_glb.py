"""The asset file: errors of every channel, what other readers of frame 0 see, sizes, and refusals."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gvf.errors import UserError
from gvf.formats.asset_glb import SEQUENCE, SPLATTING, load_asset_glb, save_asset_glb
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.sh import SH_C0
from gvf.geometry.camera import OrbitCamera
from gvf.rendering.splats import draw_gaussians
from tests.formats.swinging import swinging_gaussians

Document = dict[str, Any]


def chunks(data: bytes) -> tuple[Document, bytes]:
    """The JSON and the binary chunk of a GLB, read by hand."""
    magic, version, total, length, kind = struct.unpack_from("<4sIII4s", data)
    assert (magic, version, total, kind) == (b"glTF", 2, len(data), b"JSON")
    size, kind = struct.unpack_from("<I4s", data, 20 + length)
    assert kind == b"BIN\0"
    assert 28 + length + size == total
    assert length % 4 == size % 4 == 0
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def rebuilt(document: Document, binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIII4s", b"glTF", 2, 28 + len(text) + len(binary), len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary


def primitive(document: Document) -> Document:
    return document["meshes"][0]["primitives"][0]


def sequence(document: Document) -> Document:
    return primitive(document)["extensions"][SPLATTING]["extensions"][SEQUENCE]


def angles(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    """Angles in degrees between rotations wxyz, by SciPy."""
    first, second = (Rotation.from_quat(q.reshape(-1, 4).double().numpy(), scalar_first=True) for q in (a, b))
    return np.degrees((first.inv() * second).magnitude())


def assert_close(restored: Gaussians, gaussians: Gaussians) -> None:
    """The bounds that the format promises: position 1.4e-5 of the extent, 0.06 degrees, 0.6/255, scales 1 %."""
    extent = (gaussians.means.amax((0, 1)) - gaussians.means.amin((0, 1))).max()
    assert ((restored.means - gaussians.means).norm(dim=-1) <= 1.4e-5 * extent + 1e-7).all()
    assert angles(restored.quats, gaussians.quats).max() < 0.06
    assert (SH_C0 * (restored.colors - gaussians.colors).abs()).max() * 255 < 0.6
    assert (restored.opacities - gaussians.opacities).abs().max() * 255 < 0.6
    assert (restored.scales / gaussians.scales - 1).abs().max() < 0.01


@pytest.mark.parametrize(("num_frames", "count"), [(24, 500), (40, 33), (2, 7), (17, 1), (1, 1), (1, 20)])
def test_there_and_back(tmp_path: Path, num_frames: int, count: int) -> None:
    gaussians = swinging_gaussians(num_frames, count)
    save_asset_glb(tmp_path / "a.glb", gaussians, 12.5, {"title": "füchse"}, low_pass=0.3, compensate=False)
    restored = load_asset_glb(tmp_path / "a.glb")
    assert (restored.frames_per_second, restored.low_pass, restored.compensate) == (12.5, 0.3, False)
    assert restored.facts == {"title": "füchse"}
    assert_close(restored.gaussians, gaussians)
    torch.testing.assert_close(
        restored.gaussians[0].to_activated14(), gaussians[0].to_activated14(), atol=1e-6, rtol=1e-5
    )


def test_the_order_of_gaussians_is_kept_even_where_planes_run_along_a_curve(tmp_path: Path) -> None:
    gaussians = swinging_gaussians(24, 3000)  # in random order, so that neighbours in the file are none in space
    save_asset_glb(tmp_path / "a.glb", gaussians, 24.0)
    document, _ = chunks((tmp_path / "a.glb").read_bytes())
    assert sequence(document)["order"] == "morton"
    assert_close(load_asset_glb(tmp_path / "a.glb").gaussians, gaussians)


def test_frame_0_for_readers_of_the_khronos_extension(tmp_path: Path) -> None:
    gaussians = swinging_gaussians(3, 50)
    save_asset_glb(tmp_path / "a.glb", gaussians, 24.0)
    document, binary = chunks((tmp_path / "a.glb").read_bytes())
    assert document["extensionsUsed"] == [SPLATTING, SEQUENCE]
    assert "extensionsRequired" not in document
    extension = primitive(document)["extensions"][SPLATTING]
    assert {name: value for name, value in extension.items() if name != "extensions"} == {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
        "projection": "perspective",
        "sortingMethod": "cameraDistance",
    }
    assert primitive(document)["mode"] == 0

    def array(name: str) -> np.ndarray:
        accessor = document["accessors"][primitive(document)["attributes"][name]]
        view = document["bufferViews"][accessor["bufferView"]]
        assert view["byteOffset"] % 4 == 0
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        dtype = {5126: "<f4", 5121: "<u1"}[accessor["componentType"]]
        data = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        values = np.frombuffer(data, dtype).reshape(accessor["count"], width)
        if name == "POSITION":
            assert accessor["min"] == values.min(axis=0).tolist()
            assert accessor["max"] == values.max(axis=0).tolist()
        return values / 255 if accessor.get("normalized") else values

    turn = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # z up becomes y up
    first = gaussians[0]
    np.testing.assert_array_equal(array("POSITION"), first.means.numpy() @ turn.T)
    ours = turn @ Rotation.from_quat(first.quats.numpy(), scalar_first=True).as_matrix()
    theirs = Rotation.from_quat(array(f"{SPLATTING}:ROTATION")).as_matrix()  # SciPy's order is xyzw, too
    np.testing.assert_allclose(theirs, ours, atol=1e-6)
    np.testing.assert_array_equal(array(f"{SPLATTING}:SCALE"), first.scales.numpy())
    np.testing.assert_array_equal(array(f"{SPLATTING}:OPACITY")[:, 0], first.opacities.numpy())
    np.testing.assert_array_equal(array(f"{SPLATTING}:SH_DEGREE_0_COEF_0"), first.colors.numpy())
    linear = array("COLOR_0")[:, :3]
    display = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(display, first.rgb.clamp(max=1).numpy(), atol=0.03)


def test_the_documentation_lists_the_fields(tmp_path: Path) -> None:
    save_asset_glb(tmp_path / "a.glb", swinging_gaussians(3, 5), 24.0)
    document, _ = chunks((tmp_path / "a.glb").read_bytes())
    page = (Path(__file__).resolve().parents[2] / "docs" / "asset-format.md").read_text(encoding="utf-8")
    table = page.partition("| Field | Content |")[2].partition("\n\n")[0]
    fields = sequence(document)
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == fields.keys()
    assert fields["steps"].keys() | fields["segments"][0].keys() <= set(re.findall(r"`(\w+)`", table))


def test_frames_drawn_from_the_file_are_those_of_the_original(tmp_path: Path) -> None:
    gaussians = swinging_gaussians(9, 800)
    save_asset_glb(tmp_path / "a.glb", gaussians, 24.0)
    restored = load_asset_glb(tmp_path / "a.glb").gaussians
    camera = OrbitCamera(azimuth=30.0, elevation=15.0, radius=2.0, fov=40.0)
    viewmats, Ks = (torch.from_numpy(matrix).float()[None] for matrix in (camera.viewmat, camera.K))
    for frame, least in ((0, 90.0), (4, 55.0), (8, 55.0)):
        drawn = [draw_gaussians(each[frame], viewmats, Ks, 128).clamp(0, 1) for each in (restored, gaussians)]
        psnr = -10 * torch.log10((drawn[0] - drawn[1]).square().mean().clamp_min(1e-12))
        assert psnr > least


def test_extreme_values(tmp_path: Path) -> None:
    gaussians = swinging_gaussians(5, 60)
    scales = gaussians.scales.clone()
    scales[:, 0], scales[2:, 1] = 0.0, 1e15
    opacities = gaussians.opacities.clone()
    opacities[:, 0], opacities[:, 1] = 0.0, 1.0
    colors = gaussians.colors.clone()
    colors[3, 2] = 1e9
    means = gaussians.means.clone()
    means[4, 3] = 100.0  # flies away; the others keep their precision
    gaussians = Gaussians.from_rendered(means, colors, scales, gaussians.quats, opacities)
    save_asset_glb(tmp_path / "a.glb", gaussians, 24.0)
    restored = load_asset_glb(tmp_path / "a.glb").gaussians
    torch.testing.assert_close(restored.means, means, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(restored.scales[2:, 1], scales[2:, 1], rtol=0.01, atol=0)
    torch.testing.assert_close(restored.colors[3, 2], colors[3, 2], rtol=1e-3, atol=0)
    torch.testing.assert_close(restored.opacities[:, :2], opacities[:, :2], rtol=0, atol=0.002)


def test_what_stands_still_costs_nothing(tmp_path: Path) -> None:
    gaussians = swinging_gaussians(1, 2000).map(lambda tensor: tensor.expand(33, *tensor.shape[1:]).contiguous())
    save_asset_glb(tmp_path / "still.glb", gaussians, 24.0)
    save_asset_glb(tmp_path / "one.glb", gaussians[:1], 24.0)
    assert (tmp_path / "still.glb").stat().st_size - (tmp_path / "one.glb").stat().st_size < 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.map(lambda t: t[:, :0]), "needs Gaussians and frames"),
        (lambda g: g[0], r"shape \[T, N, 3\]"),
        (lambda g: g.map(lambda t: t.clone().index_fill_(0, torch.tensor([1]), float("nan"))), "frame 1: the means of"),
    ],
)
def test_refused_when_writing(tmp_path: Path, change: Callable[[Gaussians], Gaussians], message: str) -> None:
    with pytest.raises(UserError, match=message):
        save_asset_glb(tmp_path / "a.glb", change(swinging_gaussians(3, 4)), 24.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("facts", [{"x": float("nan")}, {"x": object()}, {"x": "y" * 70_000}])
def test_facts_must_be_small_json(tmp_path: Path, facts: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="facts"):
        save_asset_glb(tmp_path / "a.glb", swinging_gaussians(1, 2), 24.0, facts)


def set_in(path: str, value: Any) -> Callable[[Document], None]:
    """A change of one field of the sequence, by its dotted path."""

    def change(document: Document) -> None:
        *parents, last = path.split(".")
        place: Any = sequence(document)
        for name in parents:
            place = place[int(name) if name.isdigit() else name]
        place[last] = value

    return change


def view_end(document: Document) -> None:
    document["bufferViews"][-1]["byteLength"] += 1000


def other_count(document: Document) -> None:
    document["accessors"][2]["count"] -= 1


DAMAGES = {
    "newer": (set_in("version", 2), "version 2"),
    "no frames": (set_in("frames", 0), "frames"),
    "too many frames": (set_in("frames", 20_000), "frames"),
    "more frames than segments": (set_in("frames", 21), "segments end at frame 19"),
    "long segment": (set_in("segments.0.frames", 17), "segments"),
    "announces too much": (set_in("segments.0.inflated", 10**12), "segments.0.*(more than|must be)"),
    "announces too little": (set_in("segments.0.inflated", 200), "segments.0. does not|segments.0.*not inflate"),
    "no view": (set_in("segments.0.bufferView", 99), "bufferView"),
    "view is not a number": (set_in("segments.0.bufferView", "6"), "bufferView"),
    "view of positions": (set_in("segments.0.bufferView", 0), "zlib"),
    "no step": (set_in("steps.scale", 0.0), "step"),
    "endless step": (set_in("steps.scale", 1e300), "scales is not finite"),
    "long step": (set_in("steps.scale", 1.0), "a scale is too large"),
    "text as rate": (set_in("framesPerSecond", "24"), "framesPerSecond"),
    "rate of zero": (set_in("framesPerSecond", 0), "framesPerSecond"),
    "other order": (set_in("order", "hilbert"), "order"),
    "view beyond the file": (view_end, "bufferViews|bytes"),
    "other count": (other_count, "count"),
}
SEEN_LATER = {"endless step", "long step"}  # by the decoder for browsers, which clamps what cannot be shown


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_are_refused_with_the_place(tmp_path: Path, name: str) -> None:
    change, message = DAMAGES[name]
    save_asset_glb(tmp_path / "a.glb", swinging_gaussians(20, 30), 24.0)
    document, binary = chunks((tmp_path / "a.glb").read_bytes())
    change(document)
    (tmp_path / "b.glb").write_bytes(rebuilt(document, binary))
    with pytest.raises(UserError, match=message) as caught:
        load_asset_glb(tmp_path / "b.glb")
    assert "b.glb" in str(caught.value)


def test_damaged_bytes_never_end_in_another_error(tmp_path: Path) -> None:
    save_asset_glb(tmp_path / "a.glb", swinging_gaussians(5, 30), 24.0)
    data = bytearray((tmp_path / "a.glb").read_bytes())
    generator = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(data)
        for position in generator.integers(0, len(data), 3):
            broken[position] = generator.integers(256)
        (tmp_path / "b.glb").write_bytes(broken[: generator.integers(len(data) // 2, len(data) + 1)])
        try:
            restored = load_asset_glb(tmp_path / "b.glb").gaussians
        except UserError:
            continue
        assert restored.to_activated14().isfinite().all()


def test_a_glb_without_a_sequence_and_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "a.glb").write_bytes(rebuilt({"asset": {"version": "2.0"}}, b""))
    for name, message in (("a.glb", f"a.glb: holds no {SEQUENCE}"), ("none.glb", "none.glb: cannot be read")):
        with pytest.raises(UserError, match=message):
            load_asset_glb(tmp_path / name)
