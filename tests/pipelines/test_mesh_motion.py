"""Vertices that follow Gaussians, and the file that comes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gvf.errors import UserError
from gvf.pipelines.canonical import load_canonical
from gvf.pipelines.mesh_motion import follow, save_mesh_animation
from tests.data.gltf.gltf_files import CUBE, GltfFile, cube_mesh
from tests.formats.test_mesh_glb import Warnings, errors_and_warnings, played
from tests.pipelines.small_generator import STATIC, canonical_gaussians, small_generator


def test_a_rigid_translation_is_followed_exactly() -> None:
    means = canonical_gaussians(50, 1).means
    steps = torch.tensor([[0.0, 0.0, 0.0], [0.1, -0.2, 0.3]])
    moved = follow(CUBE, means, means + steps[:, None])
    np.testing.assert_allclose(moved, np.broadcast_to(steps[:, None].numpy(), (2, 8, 3)), atol=1e-6)


def test_near_gaussians_count_most() -> None:
    """One Gaussian in each corner of a cube that moves alone: its vertex moves most, by the weights of Eq. 3."""
    means = torch.from_numpy(CUBE).clone()
    means[0] += 0.1
    later = means[None].clone()
    later[0, 0, 2] += 1.0
    moved = follow(CUBE, means, later)[0, :, 2]
    squares = ((CUBE[0] - means.numpy()) ** 2).sum(axis=1)
    weights = np.exp(-7.0 * squares / (np.sqrt(squares.mean()) + 1e-6) ** 2)
    assert moved[0] == pytest.approx(weights[0] / weights.sum(), abs=1e-5)
    assert moved[0] == moved.max()


def test_the_mesh_moves_in_the_files_units_and_axes(tmp_path: Path, node_modules: Path) -> None:
    """Gaussians that rise by a tenth of an object of height 4: y of the file grows by 0.4."""
    file = GltfFile()
    file.node(mesh=cube_mesh(file), translation=[1, 2, 3], scale=[2, 4, 2])
    canonical = load_canonical(file.glb(tmp_path / "cube.glb"), small_generator(replace(STATIC, feature_channels=180)))
    means = canonical.gaussians.means + torch.tensor([[[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.1]]])
    assert save_mesh_animation(tmp_path / "mesh.glb", canonical, means, 2.0)
    shown = played(tmp_path / "mesh.glb", 0.0, 0.5)["meshes"][0]["positions"]
    start = CUBE * (2.0, 4.0, 2.0) + (1.0, 2.0, 3.0)
    np.testing.assert_allclose(shown, [start, start + np.array([0.0, 0.4, 0.0])], atol=1e-5)
    assert errors_and_warnings(tmp_path / "mesh.glb") == []
    with pytest.raises(UserError, match="comes from gaussians, so there is no mesh"):
        save_mesh_animation(tmp_path / "no.glb", replace(canonical, mesh=None, origin="gaussians"), means, 2.0)


def test_a_mesh_too_large_for_its_frames_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = GltfFile()
    file.node(mesh=cube_mesh(file))
    canonical = load_canonical(file.glb(tmp_path / "cube.glb"), small_generator(replace(STATIC, feature_channels=180)))
    monkeypatch.setattr("gvf.pipelines.mesh_motion.MAX_BYTES", 90)
    told = Warnings()
    assert not save_mesh_animation(tmp_path / "mesh.glb", canonical, canonical.gaussians.means[None], 2.0, told)
    assert "1 frames of 8 vertices" in told.messages[0]
    assert not (tmp_path / "mesh.glb").exists()
