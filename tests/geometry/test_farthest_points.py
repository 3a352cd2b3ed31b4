"""Farthest point sampling against the definition, and its two implementations against each other."""

import pytest
import torch

from gvf.errors import UserError
from gvf.geometry.farthest_points import _choose_batched, farthest_points


def brute_force(points: torch.Tensor, count: int, start: int) -> list[int]:
    chosen = [start]
    while len(chosen) < count:
        distance_to_set = torch.cdist(points.double(), points[chosen].double()).amin(-1)
        chosen.append(int(distance_to_set.argmax()))
    return chosen


@pytest.mark.parametrize("start", [0, 17])
def test_each_point_is_the_farthest_from_those_before(start: int) -> None:
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(start))
    assert farthest_points(points, 25, start=start).tolist() == brute_force(points, 25, start)


def test_the_batched_twin_agrees() -> None:
    points = torch.rand(3, 300, 3, generator=torch.Generator().manual_seed(0))
    expected = farthest_points(points, 40, start=2)
    assert expected.shape == (3, 40)
    assert torch.equal(_choose_batched(points, 40, torch.full((3,), 2)), expected)


def test_a_generator_draws_the_first_point_and_repeats() -> None:
    points = torch.rand(4, 1000, 3)
    first, again = (farthest_points(points, 8, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert len(set(first[:, 0].tolist())) > 1


def test_all_points_may_be_asked_for_but_no_more() -> None:
    points = torch.rand(12, 3)
    assert sorted(farthest_points(points, 12).tolist()) == list(range(12))
    with pytest.raises(UserError, match="13 asked for among 12"):
        farthest_points(points, 13)
