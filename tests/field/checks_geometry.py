"""Transforms, skins, animations and compressed data of glTF files: what `gvf bake` makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gvf.cli.bake import command as bake_command
from gvf.data.gltf.baking import bake_clip, clip_times, load_model, rest_vertices
from gvf.data.gltf.document import read_gltf
from gvf.errors import UserError

CHECKS: dict[str, Callable[..., None]] = {}

# ---- geometry: transforms, skins, animations and compressed data of glTF files ----


def _baked(path: Path, folder: Path, num_frames: int, *options: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces that `gvf bake` writes for the only clip of a file."""
    output = folder / "baked.npz"
    arguments = [str(path), "--frames", str(num_frames), "-o", str(output), *options]
    CliRunner().invoke(bake_command, arguments, catch_exceptions=False)
    with np.load(output, allow_pickle=False) as arrays:
        return arrays["vertices"], arrays["faces"]


def check_good_clip(path, tmp_path, monkeypatch):
    """Two cubes of side 1 two apart, of which one turns about y by a quarter."""
    vertices, faces = _baked(path, tmp_path, 3, "--raw")
    assert vertices.shape == (3, 16, 3)
    assert faces.shape == (24, 3)
    turned = vertices[2, :8] - vertices[0, :8][:, [2, 1, 0]] * np.array([1, 1, -1], np.float32)
    assert np.abs(turned).max() < 1e-6


def check_joints_normalized(path, tmp_path, monkeypatch):
    vertices, _ = _baked(path, tmp_path, 3, "--raw")
    np.testing.assert_allclose(vertices[:, 3:6, 2], np.repeat([[0.0], [5.0], [10.0]], 3, axis=1), atol=1e-6)


def check_negative_scale(path, tmp_path, monkeypatch):
    vertices, faces = _baked(path, tmp_path, 2, "--raw")
    for frame in vertices:
        assert np.linalg.det((frame - frame.mean(axis=0))[faces].astype(np.float64)).sum() / 6 == pytest.approx(1.0)


def check_offset(path, tmp_path, monkeypatch):
    cube = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    moved = float(np.float32(0.3))
    original = path.read_bytes()
    for offset in (b"100000.0", b"1e6     ", b"1.3e7   "):  # as many bytes, so that the container stays whole
        place = tmp_path / "offset.glb"
        place.write_bytes(original.replace(b"100000.0", offset))
        vertices, _ = _baked(place, tmp_path, 2)
        assert vertices.dtype == np.float32
        assert vertices[1, 0, 0] - vertices[0, 0, 0] == pytest.approx(3 / 13, abs=1e-6)
        # The file lists the corners in an order of its own: compare them as a set.
        turned = np.stack([cube[:, 0], -cube[:, 2], cube[:, 1]], axis=1)
        for frame, x in zip(vertices, (0.0, moved)):
            expected = (turned + np.array([x - moved / 2, 0.0, 0.0])) / (1.0 + moved)
            distances = np.abs(frame[:, None] - expected[None]).max(axis=-1)
            assert distances.min(axis=0).max() < 1e-6
            assert distances.min(axis=1).max() < 1e-6


def check_draco_used_only(path, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="KHR_draco_mesh_compression"):
        _baked(path, tmp_path, 2)


def check_matrix_on_animated_nodes(path, tmp_path, monkeypatch):
    model = load_model(read_gltf(path / "SambaDancing.gltf"))
    animation = model.animation(0)
    rest = rest_vertices(model)
    vertices = bake_clip(model, animation, clip_times(animation, 3)).vertices
    assert np.abs(vertices[0] - rest).max() < 1e-6 * np.ptp(rest, axis=0).max()
    assert np.abs(vertices[1] - rest).max() > 0.5 * np.ptp(rest, axis=0).max()
    (warning,) = model.document.warnings
    assert "nodes[0]: is animated and has a matrix" in warning


def check_nan_weights(path, tmp_path, monkeypatch):
    model = load_model(read_gltf(path))
    assert any("WEIGHTS_0 is NaN or infinite at 3 of 5423 vertices" in warning for warning in model.document.warnings)
    for index in range(len(model.document.animations)):
        animation = model.animation(index)
        vertices = bake_clip(model, animation, clip_times(animation, 4)).normalized().vertices
        assert np.ptp(vertices, axis=(0, 1)).max() == pytest.approx(1.0, abs=1e-6)


def check_interpolation_is_a_number(path, tmp_path, monkeypatch):
    model = load_model(read_gltf(path))
    channels = model.animation(0).channels
    assert {channel.interpolation for channel in channels} == {"LINEAR"}
    assert any("interpolation is the number 0, must be text; read as LINEAR" in w for w in model.document.warnings)
    vertices, _ = _baked(path, tmp_path, 8)
    assert np.isfinite(vertices).all()
    assert np.abs(vertices - vertices[0]).max() > 0.01


CHECKS |= {
    "good1.glb": check_good_clip,
    "good2.glb": check_good_clip,
    "joints_normalized.glb": check_joints_normalized,
    "negative_scale.glb": check_negative_scale,
    "offset_1e5.glb": check_offset,
    "draco_used_only.glb": check_draco_used_only,
    "matrix_on_animated_nodes": check_matrix_on_animated_nodes,
    "nan_weights_wasp.glb": check_nan_weights,
    "interpolation_is_a_number.glb": check_interpolation_is_a_number,
}
