"""The ways in which training plays a clip: what each shows, and what they have in common."""

from __future__ import annotations

import itertools

import torch

from gvf.training.tasks.playback import playback_order


def drawn(num_frames: int, count: int = 400) -> set[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(0)
    return {tuple(playback_order(num_frames, generator).tolist()) for _ in range(count)}


def test_all_ways_are_drawn() -> None:
    orders = drawn(5)
    assert (0, 4, 3, 2, 1) in orders, "backwards"
    assert (0, 1, 2, 1, 0) in orders, "there and back"
    assert (0, 0, 1, 1, 2) in orders, "at half speed"
    assert (0, 1, 1, 1, 2) in orders, "with a pause"


def test_frames_exist_and_the_first_one_is_canonical() -> None:
    for num_frames in (1, 2, 3, 8):
        orders = drawn(num_frames)
        assert all(len(order) == num_frames for order in orders)
        assert all(0 <= frame < num_frames for order in orders for frame in order)
        assert {order[0] for order in orders} == {0}


def test_time_runs_in_steps_of_at_most_one_frame_but_for_the_jump_backwards() -> None:
    for order in drawn(6):
        steps = [abs(after - before) for before, after in itertools.pairwise(order)]
        assert max(steps) <= 1 or order == (0, 5, 4, 3, 2, 1)
