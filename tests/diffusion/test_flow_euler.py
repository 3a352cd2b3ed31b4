"""The Euler sampler on flows whose solution is known, its times, and where guidance acts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gvf.diffusion.flow_euler import FlowSettings, sample_flow
from gvf.errors import UserError


def never(x: Tensor, time: float) -> Tensor:
    raise AssertionError("this prediction was not to be asked")


def test_a_straight_flow_arrives_in_one_step() -> None:
    data, noise = torch.randn(3, 4), torch.randn(3, 4)
    for steps in (1, 7):
        settings = FlowSettings(num_steps=steps, guidance=0.0)
        result = sample_flow(noise, lambda x, time: noise - data, never, settings)
        torch.testing.assert_close(result, data, atol=1e-5, rtol=1e-5)


def test_a_curved_flow_is_approached_at_first_order() -> None:
    """dx/dt = 2 t x from x(1) = 1: x(0) = exp(-1)."""
    errors = []
    for steps in (50, 100, 200):
        settings = FlowSettings(num_steps=steps, guidance=0.0, rescale=3.0)
        result = sample_flow(torch.ones(1, dtype=torch.float64), lambda x, time: 2 * time / 1000 * x, never, settings)
        errors.append(abs(result.item() - math.exp(-1)))
    assert errors[-1] < 5e-3
    assert 1.9 < errors[0] / errors[1] < 2.1
    assert 1.9 < errors[1] / errors[2] < 2.1


def test_times_are_rescaled_towards_noise() -> None:
    assert FlowSettings(num_steps=4, rescale=1.0).times() == [1.0, 0.75, 0.5, 0.25, 0.0]
    times = FlowSettings(num_steps=4, rescale=3.0).times()
    assert times == pytest.approx([1.0, 0.9, 0.75, 0.5, 0.0])


@pytest.mark.parametrize("steps", [12, 25, 50])
def test_published_times_and_guided_steps(steps: int) -> None:
    """TRELLIS spaces them by NumPy; at 12 steps a time is 0.5 exactly, where guidance still acts."""
    uniform = np.linspace(1, 0, steps + 1)
    expected = 3.0 * uniform / (1 + 2.0 * uniform)
    settings = FlowSettings(num_steps=steps, guidance=7.5)
    np.testing.assert_allclose(settings.times(), expected, rtol=1e-15, atol=1e-15)
    guided = [settings.guides(time) for time in settings.times()]
    assert guided == [0.5 <= time <= 1.0 for time in expected]
    assert sum(guided[:-1]) == {12: 10, 25: 19, 50: 38}[steps], "u from 1 down to 0.25"


def test_guidance_acts_in_its_interval_with_both_halves_in_one_batch() -> None:
    """The condition pulls by 3, its absence by 1; s = 2: (1 + s) 3 - s 1 = 7."""
    asked: list[tuple[str, float, int]] = []

    def conditional(x: Tensor, time: float) -> Tensor:
        asked.append(("conditional", time, len(x)))
        return torch.full_like(x, 3.0)

    def both(x: Tensor, time: float) -> Tensor:
        asked.append(("both", time, len(x)))
        assert torch.equal(x[:2], x[2:])
        return torch.cat((torch.full_like(x[:2], 3.0), torch.full_like(x[2:], 1.0)))

    settings = FlowSettings(num_steps=4, guidance=2.0, guided_from=0.5, guided_to=0.9, rescale=1.0)
    reached: list[float] = []
    result = sample_flow(torch.zeros(2, 5), conditional, both, settings, reached.append)
    assert asked == [("conditional", 1000, 2), ("both", 750, 4), ("both", 500, 4), ("conditional", 250, 2)]
    assert reached == [0.75, 0.5, 0.25, 0.0]
    torch.testing.assert_close(result, torch.full((2, 5), -(0.5 * 3 + 0.5 * 7)))


def test_the_published_interval_includes_its_ends() -> None:
    settings = FlowSettings(num_steps=12)  # t = 0.5 is one of its times
    guided = [time for time in settings.times()[:-1] if settings.guides(time)]
    assert len(guided) == 10
    assert (guided[0], guided[-1]) == (1.0, 0.5)
    assert not FlowSettings(guidance=0.0).guides(0.7)


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong in ({"num_steps": 0}, {"rescale": 0.0}, {"guidance": -1.0}):
        with pytest.raises(UserError, match="num_steps >= 1"):
            FlowSettings(**wrong)  # type: ignore[arg-type]
