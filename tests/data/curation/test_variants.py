"""Variants of clips: geometry checked by hand, and times on an animation whose position tells its time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from gvf.config.curate import VariantsConfig
from gvf.data.curation.variants import bake_variant, draw_variant, resized, turned
from gvf.data.gltf.baking import GltfModel, load_model
from gvf.data.gltf.document import read_gltf
from gvf.data.mesh import AnimatedMesh
from tests.data.gltf.gltf_files import CUBE, GltfFile, cube_mesh

UNCHANGED: dict[str, Any] = {
    "per_clip": 1,
    "yaw": (0.0, 0.0),
    "mirror": 0.0,
    "scale": (1.0, 1.0),
    "window": (1.0, 1.0),
    "reverse": 0.0,
}


def _config(**changes: Any) -> VariantsConfig:
    return VariantsConfig(**{**UNCHANGED, **changes})


def _model(tmp_path: Path, values: list[list[float]]) -> GltfModel:
    """A cube of side 1 that slides through `values` [K, 3] in K - 1 seconds."""
    file = GltfFile()
    node = file.node(mesh=cube_mesh(file))
    file.animation("slide")
    file.channel(0, node, "translation", list(range(len(values))), values)
    return load_model(read_gltf(file.glb(tmp_path / "cube.glb")))


def _bake(model: GltfModel, num_frames: int = 5, seed: int = 0, **changes: Any) -> AnimatedMesh:
    generator = np.random.default_rng(seed)
    return bake_variant(model, model.animation(0), num_frames, _config(**changes), generator)[0]


def _mesh(vertices: Any) -> AnimatedMesh:
    return AnimatedMesh(
        vertices=np.asarray(vertices, np.float64),
        faces=np.array([[0, 1, 2]], np.int32),
        face_materials=np.zeros(1, np.int32),
        uvs=np.zeros((3, 2), np.float32),
        colors=np.ones((3, 4), np.float32),
        materials=(),
        textures=(),
        times=np.zeros(len(vertices), np.float32),
    )


def test_a_turn_is_counter_clockwise_from_above() -> None:
    """Axes are glTF's, y up: a turn by 90 degrees takes z (towards the viewer) to x (right)."""
    mesh = turned(_mesh([[[0, 0, 1], [1, 0, 0], [0, 1, 0]]]), 90.0, mirrored=False)
    assert np.allclose(mesh.vertices[0], [[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    assert mesh.faces.tolist() == [[0, 1, 2]]


def test_mirroring_keeps_front_faces_in_front() -> None:
    mesh = _mesh([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    mirrored = turned(mesh, 0.0, mirrored=True)
    assert np.allclose(mirrored.vertices[0], [[0, 0, 0], [-1, 0, 0], [0, 1, 0]])
    a, b, c = mirrored.vertices[0][mirrored.faces[0]]
    assert np.cross(b - a, c - a)[2] > 0  # towards the viewer, as before
    both = turned(mesh, 90.0, mirrored=True)  # mirrored first: x becomes -x, which the turn takes to z
    assert np.allclose(both.vertices[0][1], [0, 0, 1])


def test_the_first_frame_stays_in_the_box_and_sets_the_largest_scale() -> None:
    first = np.array([[-0.5, 0, 0], [0.1, 0, 0], [-0.2, 0.3, 0]])  # 0.6 long, at the left end of the box
    mesh = _mesh(first + np.array([[[0, 0, 0]], [[0.4, 0, 0]]]))
    small, scale = resized(mesh, 0.5)
    assert scale == 0.5
    assert np.allclose(small.vertices, 0.5 * mesh.vertices)
    large, scale = resized(mesh, 1.25)
    assert scale == 1.25
    # 1.25 x -0.5 = -0.625 leaves the box by 0.125, so all frames move right by that.
    assert np.allclose(large.vertices, 1.25 * mesh.vertices + [0.125, 0, 0])
    largest, scale = resized(mesh, 4.0)
    assert np.isclose(scale, 1 / 0.6)
    assert np.isclose(np.ptp(largest.vertices[0], axis=0).max(), 1.0)
    assert largest.vertices[1].max() > 0.5  # a later frame leaves it


def test_times_of_a_motion_that_does_not_loop(tmp_path: Path) -> None:
    model = _model(tmp_path, [[0, 0, 0], [4, 0, 0]])
    assert model.animation(0).end == 1.0
    for seed in range(5):
        half = _bake(model, seed=seed, window=(0.5, 0.5))
        travelled = np.ptp(half.vertices[:, 0, 0]) / np.ptp(half.vertices[0, :, 0])  # in sides of the cube
        assert np.isclose(travelled, 2.0, atol=1e-5)
        assert np.isclose(half.times[-1], 0.5)
        assert (np.diff(half.vertices[:, 0, 0]) > 0).all()
    whole = _bake(model, window=(1.7, 1.7))  # no more than there is
    assert np.isclose(np.ptp(whole.vertices[:, 0, 0]) / np.ptp(whole.vertices[0, :, 0]), 4.0, atol=1e-5)
    assert np.allclose(_bake(model, reverse=1.0).vertices, _bake(model).vertices[::-1], atol=1e-6)


def test_a_loop_may_begin_anywhere_and_be_repeated(tmp_path: Path) -> None:
    model = _model(tmp_path, [[0, 0, 0], [1, 0, 0], [0, 0, 0]])
    starts = set()
    for seed in range(5):
        mesh = _bake(model, 9, seed, window=(2.0, 2.0))
        x = mesh.vertices[:, 0, 0]
        assert np.allclose(x[0], x[4], atol=1e-5)  # after a whole turn
        assert np.allclose(x[4], x[8], atol=1e-5)
        assert 0.49 < np.ptp(x) / np.ptp(mesh.vertices[0, :, 0]) < 1.01  # samples half a side apart, on a way of one
        assert np.isclose(mesh.times[-1], 4.0)
        starts.add(round(float(x[0]), 3))
    assert len(starts) > 1


def test_a_variant_without_changes_is_the_clip(tmp_path: Path) -> None:
    model = _model(tmp_path, [[0, 0, 0], [4, 0, 0]])
    mesh = _bake(model)
    slid = np.linspace(0.0, 4.0, 5)[:, None, None] * [1.0, 0.0, 0.0]
    expected = (CUBE + slid)[..., [0, 2, 1]] * (1, -1, 1)  # z up
    low, high = expected.min(axis=(0, 1)), expected.max(axis=(0, 1))
    placed = (expected - (low + high) / 2) / (high - low).max()
    assert np.allclose(mesh.vertices, placed, atol=1e-6)


def test_draws_stay_in_their_ranges_and_are_written_down() -> None:
    config = _config(yaw=(-30.0, 30.0), mirror=0.5, scale=(0.8, 1.2), window=(0.5, 1.5), reverse=0.5)
    drawn = [draw_variant(config, seed % 2 == 0, np.random.default_rng(seed)) for seed in range(200)]
    for i, variant in enumerate(drawn):
        assert -30 <= variant.yaw <= 30
        assert 0.8 <= variant.scale <= 1.2
        assert 0.5 <= variant.window <= (1.5 if i % 2 == 0 else 1.0)
        assert i % 2 == 0 or variant.start + variant.window <= 1.0 + 1e-9
    assert 60 < sum(variant.mirrored for variant in drawn) < 140
    assert 60 < sum(variant.reverse for variant in drawn) < 140
    written = json.loads(drawn[0].text())
    assert written["yaw"] == round(drawn[0].yaw, 4)
    assert written["mirrored"] is drawn[0].mirrored
    assert set(written) == {"yaw", "mirrored", "scale", "start", "window", "reverse"}


def test_ranges_begin_with_their_lower_end() -> None:
    with pytest.raises(ValidationError, match="the lower end must come first"):
        _config(scale=(1.2, 0.8))
