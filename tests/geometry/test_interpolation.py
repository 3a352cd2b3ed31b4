"""Mesh-guided interpolation against closed forms and brute force (Eq. 1, 3, 4)."""

import math

import pytest
import torch

from gvf.errors import UserError
from gvf.geometry import knn
from gvf.geometry.displacement import displacement_field
from gvf.geometry.interpolation import MeshGuide, interpolation_weights, mesh_guide
from gvf.geometry.knn import nearest_neighbors


def test_displacement_is_zero_in_the_canonical_frame() -> None:
    points = torch.randn(2, 5, 7, 3)
    field = displacement_field(points)
    assert field.shape == points.shape
    assert field[:, 0].abs().max() == 0
    torch.testing.assert_close(field[:, 3], points[:, 3] - points[:, 0])


def test_neighbors_match_brute_force() -> None:
    generator = torch.Generator().manual_seed(1)
    queries, points = torch.rand(2, 40, 3, generator=generator), torch.rand(2, 90, 3, generator=generator)
    found = nearest_neighbors(queries, points, 5)
    expected = torch.cdist(queries.double(), points.double()).square().topk(5, largest=False)
    assert torch.equal(found.indices, expected.indices)
    torch.testing.assert_close(found.sq_dists.double(), expected.values, rtol=1e-4, atol=1e-7)
    single = nearest_neighbors(queries[1], points[1], 1)
    assert torch.equal(single.indices, expected.indices[1, :, :1])


def test_the_twin_for_cuda_finds_the_same_in_any_number_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, points = torch.rand(40, 3), torch.rand(90, 3)
    expected = nearest_neighbors(queries, points, 5).indices
    assert torch.equal(knn._search_blocks(queries, points, 5), expected)
    monkeypatch.setattr(knn, "CUDA_BLOCK", 7 * 90)
    assert torch.equal(knn._search_blocks(queries, points, 5), expected)


def test_too_few_points_are_an_error_that_says_so() -> None:
    with pytest.raises(UserError, match="8 neighbours were requested, but there are only 3 points"):
        nearest_neighbors(torch.zeros(1, 3), torch.zeros(3, 3), 8)


def test_weights_of_two_neighbors_have_a_closed_form() -> None:
    # Squared distances 1 and 3: r^2 = 2, so the ratio of the weights is exp(-7 (1 - 3) / 2) = e^7.
    sq_dists = torch.tensor([[1.0, 3.0]])
    nearer = 1.0 / (1.0 + math.exp(-7.0))
    torch.testing.assert_close(interpolation_weights(sq_dists, 7.0), torch.tensor([[nearer, 1 - nearer]]))
    # The release drops the one beyond r.
    torch.testing.assert_close(interpolation_weights(sq_dists, 7.0, "release"), torch.tensor([[1.0, 0.0]]))


def test_weights_do_not_depend_on_the_scale_of_the_scene() -> None:
    sq_dists = torch.rand(30, 8) + 0.1
    torch.testing.assert_close(
        interpolation_weights(sq_dists, 7.0), interpolation_weights(sq_dists * 1e-3, 7.0), rtol=1e-3, atol=1e-5
    )


def test_a_gaussian_on_a_mesh_point_takes_its_motion() -> None:
    weights = interpolation_weights(torch.zeros(1, 4), 7.0)
    torch.testing.assert_close(weights, torch.full((1, 4), 0.25))
    points = torch.rand(50, 3)
    guide = mesh_guide(points[:5], points, num_neighbors=8, beta=1e4)
    displacements = torch.randn(3, 50, 3)
    torch.testing.assert_close(guide.interpolate(displacements), displacements[:, :5], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("variant", ["paper", "release"])
def test_constant_motion_comes_back_unchanged(variant: str) -> None:
    positions, points = torch.rand(20, 3), torch.rand(100, 3)
    guide = mesh_guide(positions, points, num_neighbors=8, beta=7.0, variant=variant)
    motion = torch.tensor([0.1, -0.2, 0.3])
    moved = guide.interpolate(motion.expand(4, 100, 3))
    torch.testing.assert_close(moved, motion.expand(4, 20, 3))


def test_one_neighbor_is_the_nearest_point() -> None:
    positions, points, displacements = torch.rand(20, 3), torch.rand(60, 3), torch.randn(2, 60, 3)
    moved = mesh_guide(positions, points, num_neighbors=1, beta=7.0).interpolate(displacements)
    nearest = torch.cdist(positions, points).argmin(-1)
    torch.testing.assert_close(moved, displacements[:, nearest])


def test_a_batch_equals_its_items_and_equation_4() -> None:
    generator = torch.Generator().manual_seed(0)
    positions, points = torch.rand(3, 10, 3, generator=generator), torch.rand(3, 50, 3, generator=generator)
    displacements = torch.randn(3, 4, 50, 3, generator=generator)
    moved = mesh_guide(positions, points, num_neighbors=8, beta=7.0).interpolate(displacements)
    assert moved.shape == (3, 4, 10, 3)
    for item in range(3):
        alone = mesh_guide(positions[item], points[item], num_neighbors=8, beta=7.0)
        torch.testing.assert_close(moved[item], alone.interpolate(displacements[item]))
    # Eq. 3-4 written out for one Gaussian.
    sq_dists = (points[1] - positions[1, 2]).square().sum(-1).tolist()
    near = sorted(range(50), key=sq_dists.__getitem__)[:8]
    sq_radius = sum(sq_dists[k] for k in near) / 8
    weights = [math.exp(-7.0 * sq_dists[k] / sq_radius) for k in near]
    expected = sum(w * displacements[1, 3, k] for w, k in zip(weights, near, strict=True)) / sum(weights)
    torch.testing.assert_close(moved[1, 3, 2], expected, rtol=1e-3, atol=1e-5)


def test_no_gradient_reaches_the_positions() -> None:
    positions = torch.rand(5, 3, requires_grad=True)
    points = torch.rand(20, 3, requires_grad=True)
    moved = mesh_guide(positions, points, num_neighbors=2, beta=7.0).interpolate(torch.randn(2, 20, 3))
    assert not moved.requires_grad


def test_with_fewer_points_than_neighbours_every_point_counts() -> None:
    positions, points = torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 3.0**0.5, 0.0]])  # squared: 1 and 3
    guide = mesh_guide(positions, points, num_neighbors=8, beta=7.0)
    nearer = 1.0 / (1.0 + math.exp(-7.0))  # r^2 is their mean, 2
    torch.testing.assert_close(guide.weights, torch.tensor([[nearer, 1.0 - nearer]]), atol=1e-5, rtol=1e-4)
    alone = mesh_guide(positions, points[1:], num_neighbors=8, beta=7.0)
    assert alone.weights.tolist() == [[1.0]]


def test_gradients_reach_the_displacements() -> None:
    generator = torch.Generator().manual_seed(0)
    points, positions = torch.rand(2, 6, 3, generator=generator), torch.rand(2, 5, 3, generator=generator)
    guide = mesh_guide(positions, points, num_neighbors=3, beta=7.0)
    precise = MeshGuide(guide.indices, guide.weights.double())
    displacements = torch.rand(2, 4, 6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(precise.interpolate, displacements)
