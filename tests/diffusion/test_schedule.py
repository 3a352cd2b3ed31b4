"""The steps that training draws."""

from __future__ import annotations

import torch

from gvf.diffusion.schedule import cosine_schedule

COUNT = 40_000


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_without_shift_every_step_is_equally_likely_and_drawn_as_whole_numbers() -> None:
    steps = cosine_schedule(100).draw_steps(COUNT, 1.0, generator())
    expected = torch.randint(100, (COUNT,), generator=generator())
    assert torch.equal(steps, expected)


def test_a_shift_multiplies_the_odds_of_noisy_steps() -> None:
    """P(s u / (1 + (s - 1) u) < a) = a / (s - (s - 1) a), the inverse of the map, by hand."""
    shift = 3.0
    steps = cosine_schedule(1000).draw_steps(COUNT, shift, generator())
    assert steps.min() >= 0
    assert steps.max() <= 999
    for share in (0.25, 0.5, 0.75):
        expected = share / (shift - (shift - 1.0) * share)
        deviation = (expected * (1.0 - expected) / COUNT) ** 0.5
        assert abs((steps < share * 1000).double().mean().item() - expected) < 5 * deviation
