"""Canonical objects from files: which pose, where in the file, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gvf.errors import UserError
from gvf.geometry.voxels import active_voxels
from gvf.pipelines.canonical import load_canonical
from gvf.pipelines.video_to_4d import VideoTo4D
from tests.data.gltf.gltf_files import CUBE, GltfFile, cube_mesh
from tests.pipelines.small_generator import STATIC, small_generator


@pytest.fixture(scope="module")
def generator() -> VideoTo4D:
    return small_generator(replace(STATIC, feature_channels=180))  # of EfficientNet-Lite0


def cube_file(tmp_path: Path) -> Path:
    """A cube of side 2 around (1, 2, 3) that first turns by 90 degrees and is twice as tall in the clip `grow`."""
    file = GltfFile()
    node = file.node(mesh=cube_mesh(file), translation=[1, 2, 3], scale=[2, 2, 2])
    clip = file.animation("grow")
    file.channel(clip, node, "scale", [0.0, 1.0], [[2, 4, 2], [9, 9, 9]])
    return file.glb(tmp_path / "cube.glb")


def test_a_static_pose_in_the_unit_box_and_back(tmp_path: Path, generator: VideoTo4D) -> None:
    path = cube_file(tmp_path)
    found = load_canonical(path, generator)
    assert found.origin == "mesh"
    assert found.mesh is not None
    assert found.mesh.vertices.shape == (1, 8, 3)
    np.testing.assert_allclose(
        found.to_file.apply(found.mesh.vertices[0]), CUBE * 2.0 + (1.0, 2.0, 3.0), atol=1e-6, rtol=0
    )
    voxels = active_voxels(found.mesh.vertices[0], found.mesh.faces, STATIC.resolution)
    assert found.gaussians.num_gaussians == len(voxels) * STATIC.gaussians_per_voxel
    assert found.gaussians.means.abs().max() < 0.75
    assert len(found.sha256) == 64


def test_the_first_frame_of_a_clip(tmp_path: Path, generator: VideoTo4D) -> None:
    path = cube_file(tmp_path)
    found = load_canonical(path, generator, clip="grow")
    assert found.to_file.scale == pytest.approx(4.0)
    assert found.mesh is not None
    np.testing.assert_allclose(np.ptp(found.mesh.vertices[0], axis=0), [0.5, 0.5, 1.0], atol=1e-6)
    with pytest.raises(UserError, match=r"cube.glb: has no animation 'walk'. It has: grow"):
        load_canonical(path, generator, clip="walk")


def test_the_same_file_gives_the_same_gaussians(tmp_path: Path, generator: VideoTo4D) -> None:
    path = cube_file(tmp_path)
    first, second = (load_canonical(path, generator).gaussians for _ in range(2))
    torch.testing.assert_close(first.to_activated14(), second.to_activated14(), rtol=0, atol=0)
