"""PyTorch3D compared with the plain code that replaces it where it is missing; on the CPU, where both can run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gvf.geometry import knn, pytorch3d_backend
from gvf.geometry.farthest_points import _choose_batched, farthest_points
from gvf.geometry.knn import nearest_neighbors
from gvf.geometry.sampling import sample_surface
from gvf.metrics.chamfer import chamfer_over_time

installed = pytest.mark.skipif(not pytorch3d_backend.is_installed(), reason="PyTorch3D is not installed")


def clouds(count: int, *sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(count, size, 3, generator=generator) for size in sizes]


def test_the_cpu_is_served_by_the_plain_code() -> None:
    assert not pytorch3d_backend.serves(torch.zeros(1, 3))


@installed
@pytest.mark.parametrize("k", [1, 4])
def test_nearest_neighbors_agree_with_the_tree_and_with_the_plain_search(k: int, monkeypatch) -> None:
    queries, points = clouds(2, 300, 500)
    tree = nearest_neighbors(queries, points, k)
    monkeypatch.setattr(pytorch3d_backend, "serves", lambda points: True)
    monkeypatch.setattr(knn, "_search_tree", None)  # so that only PyTorch3D can answer
    found = nearest_neighbors(queries, points, k)
    assert torch.equal(found.indices, tree.indices)
    assert torch.equal(found.sq_dists, tree.sq_dists)
    plain = torch.stack([knn._search_blocks(*pair, k) for pair in zip(queries, points)])
    assert torch.equal(found.indices, plain)


@installed
def test_farthest_points_agree_with_the_plain_code_from_any_start() -> None:
    (points,) = clouds(3, 400)
    starts = torch.tensor([0, 7, 399])
    found = pytorch3d_backend.farthest_indices(points, 50, starts)
    assert found is not None
    assert torch.equal(found, _choose_batched(points, 50, starts))
    assert torch.equal(found[1], farthest_points(points[1], 50, start=7))


@installed
def test_points_in_one_place_are_left_to_the_plain_code() -> None:
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]]])
    starts = torch.zeros(1, dtype=torch.long)
    assert pytorch3d_backend.farthest_indices(points, 2, starts).tolist() == [[0, 1]]
    assert pytorch3d_backend.farthest_indices(points, 4, starts) is None


@installed
def test_the_chamfer_distance_agrees_with_that_of_pytorch3d() -> None:
    from pytorch3d.loss import chamfer_distance

    one, other = clouds(3, 300, 200)
    (there, back), _ = chamfer_distance(one, other, batch_reduction=None, point_reduction=None)  # squared
    expected = (there.sqrt().mean(1) + back.sqrt().mean(1)) / 2
    torch.testing.assert_close(chamfer_over_time(one, other), expected, rtol=1e-5, atol=0)


@installed
def test_surfaces_are_sampled_as_evenly_as_pytorch3d_samples_them() -> None:
    """Both draw uniformly by area; ours is stratified, so it leaves smaller holes, never larger ones."""
    from pytorch3d.ops import sample_points_from_meshes
    from pytorch3d.structures import Meshes
    from pytorch3d.utils import ico_sphere

    sphere = ico_sphere(2)
    vertices, faces = sphere.verts_packed().numpy() * [1.0, 2.0, 0.5], sphere.faces_packed().numpy()
    mesh = Meshes([torch.from_numpy(vertices).float()], [torch.from_numpy(faces)])
    torch.manual_seed(0)
    dense, theirs = (sample_points_from_meshes(mesh, count) for count in (20_000, 2000))
    ours = torch.from_numpy(sample_surface(vertices, faces, 2000, np.random.default_rng(0)).positions(vertices, faces))
    mean, expected = ours.mean(0), dense[0].mean(0).double()
    torch.testing.assert_close(mean, expected, rtol=0, atol=0.05)
    torch.testing.assert_close(ours.std(0), dense[0].std(0).double(), rtol=0.03, atol=0)
    hole, their_hole = (nearest_neighbors(dense[0], points.float(), 1).sq_dists.mean() for points in (ours, theirs[0]))
    assert 0.3 * their_hole < hole <= 1.05 * their_hole
