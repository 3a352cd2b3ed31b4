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


def test_fewer_points_than_asked_for_are_repeated_in_their_order() -> None:
    line = torch.tensor([0.0, 1.0, 5.0]).unsqueeze(-1) * torch.tensor([1.0, 0.0, 0.0])
    # From 0 the farthest is 5, and 1 is left; then the order repeats.
    assert farthest_points(line, 7).tolist() == [0, 2, 1, 0, 2, 1, 0]
    assert farthest_points(line, 4, start=1).tolist() == [1, 2, 0, 1]
    assert farthest_points(line[:1], 3).tolist() == [0, 0, 0]
    drawn = farthest_points(line, 5, generator=torch.Generator().manual_seed(0)).tolist()
    assert sorted(drawn[:3]) == [0, 1, 2]
    assert drawn[3:] == drawn[:2]


def test_points_in_one_place_are_chosen_one_by_one() -> None:
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]])
    expected = [[0, 1, 2, 3, 0, 1]]
    assert farthest_points(points[None], 6).tolist() == expected
    assert _choose_batched(points[None], 4, torch.zeros(1, dtype=torch.long)).tolist() == [expected[0][:4]]


def test_no_points_are_refused() -> None:
    assert sorted(farthest_points(torch.rand(12, 3), 12).tolist()) == list(range(12))
    with pytest.raises(UserError, match="no points to choose from"):
        farthest_points(torch.zeros(0, 3), 1)
