"""The animated mesh and its file format."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from gvf.data.mesh import AnimatedMesh, Material, encode_png, reduced
from gvf.errors import ClipError, UserError
from gvf.storage.files import load_npz, save_npz


@pytest.fixture
def mesh() -> AnimatedMesh:
    generator = np.random.default_rng(0)
    return AnimatedMesh(
        vertices=generator.normal(size=(3, 5, 3)).astype(np.float32) * [1, 5, 2] + np.float32([10, 0, -3]),
        faces=np.array([[0, 1, 2], [2, 3, 4]], np.int32),
        face_materials=np.array([0, 1], np.int32),
        uvs=generator.random((5, 2)).astype(np.float32),
        colors=generator.random((5, 4)).astype(np.float32),
        materials=(
            Material("skin", (0.1, 0.2, 0.3, 1.0), 0, "MASK", 0.25, True, (0.0, 0.5, 0.0)),
            Material("Ä", (1.0, 1.0, 1.0, 1.0), -1, "OPAQUE", 0.5, False, (0.0, 0.0, 0.0), unlit=True),
            Material(
                *("glow", (1.0, 1.0, 1.0, 1.0), 0, "OPAQUE", 0.5, False, (5.0, 0.0, 1.0)),
                emissive_texture=0,
                emissive_wrap=("CLAMP_TO_EDGE", "MIRRORED_REPEAT"),
            ),
        ),
        textures=(generator.integers(0, 256, (4, 6, 4), np.uint8),),
        times=np.array([0.0, 0.5, 1.0], np.float32),
    )


def test_save_and_load_give_the_same(mesh: AnimatedMesh, tmp_path: Path) -> None:
    points, emissive_uvs = np.zeros((3, 7, 3), np.float32), np.arange(10, dtype=np.float32).reshape(5, 2)
    for stored in (
        mesh,
        dataclasses.replace(mesh, points=points),
        dataclasses.replace(mesh, emissive_uvs=emissive_uvs),
    ):
        stored.save(tmp_path / "a.npz")
        loaded = AnimatedMesh.load(tmp_path / "a.npz")
        assert loaded.materials == stored.materials
        for field in dataclasses.fields(AnimatedMesh):
            if field.name not in ("materials", "textures", "points", "emissive_uvs"):
                np.testing.assert_array_equal(getattr(loaded, field.name), getattr(stored, field.name))
        np.testing.assert_array_equal(loaded.textures[0], stored.textures[0])
        for name in ("points", "emissive_uvs"):
            assert (getattr(loaded, name) is None) == (getattr(stored, name) is None)
    np.testing.assert_array_equal(loaded.emissive_uvs, emissive_uvs)
    assert loaded.double_sided.tolist() == [True, False]


def test_a_file_from_before_a_field_was_added_is_read(mesh: AnimatedMesh, tmp_path: Path) -> None:
    """Materials of curated clips that know neither `unlit` nor emissive textures are lit and glow evenly."""
    mesh.save(tmp_path / "a.npz")
    arrays = load_npz(tmp_path / "a.npz")
    materials = json.loads(str(arrays["materials"]))[:2]
    for name in ("unlit", "emissive_texture", "emissive_wrap"):
        for values in materials:
            del values[name]
    save_npz(tmp_path / "a.npz", **{**arrays, "materials": np.array(json.dumps(materials))})
    loaded = AnimatedMesh.load(tmp_path / "a.npz").materials
    assert [(m.unlit, m.emissive_texture) for m in loaded] == [(False, -1)] * 2


def test_a_damaged_texture_is_named(mesh: AnimatedMesh, tmp_path: Path) -> None:
    mesh.save(tmp_path / "a.npz", {0: encode_png(mesh.textures[0])[:-30]})
    with pytest.raises(UserError, match=r"a\.npz: texture_0: cannot be decoded"):
        AnimatedMesh.load(tmp_path / "a.npz")


def test_equal_meshes_give_equal_files(mesh: AnimatedMesh, tmp_path: Path) -> None:
    mesh.save(tmp_path / "a.npz")
    mesh.save(tmp_path / "b.npz", {0: encode_png(mesh.textures[0])})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK no archive")
    with pytest.raises(UserError, match=r"a\.npz"):
        AnimatedMesh.load(tmp_path / "a.npz")


def test_normalized_turns_y_up_to_z_up_in_the_unit_box(mesh: AnimatedMesh) -> None:
    unit = mesh.normalized().vertices
    low, high = unit.min(axis=(0, 1)), unit.max(axis=(0, 1))
    assert (high - low).max() == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(low + high, 0.0, atol=1e-6)
    scale = np.ptp(mesh.vertices, axis=(0, 1)).max()
    turned = np.stack([mesh.vertices[..., 0], -mesh.vertices[..., 2], mesh.vertices[..., 1]], axis=-1)
    np.testing.assert_allclose((unit - unit[0, 0]) * scale, turned - turned[0, 0], atol=1e-5)


def test_a_mesh_without_extent_is_refused(mesh: AnimatedMesh) -> None:
    with pytest.raises(ClipError, match="in one place"):
        dataclasses.replace(mesh, vertices=np.ones((3, 5, 3), np.float32)).normalized()


def test_large_textures_are_averaged_down() -> None:
    image = np.zeros((4, 8, 4), np.uint8)
    image[:, ::2], image[..., 3] = 200, 255
    assert reduced(image, 8) is image
    small = reduced(image, 4)
    assert small.shape == (2, 4, 4)
    assert np.unique(small[..., 0]).tolist() == [100]
    assert reduced(np.zeros((1, 64, 4), np.uint8), 4).shape == (1, 4, 4)
