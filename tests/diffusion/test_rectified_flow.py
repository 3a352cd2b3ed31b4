"""Rectified flows: times against the logit-normal's quantiles, and a flow whose velocity is known, sampled by the sampler."""

from __future__ import annotations

import math

import torch

from gvf.diffusion.flow_euler import FlowSettings, sample_flow
from gvf.diffusion.rectified_flow import draw_times, flow_velocity, noised_data


def test_times_are_logit_normal_with_mean_and_deviation_one() -> None:
    times = draw_times(20_000, torch.Generator().manual_seed(0))
    for quantile, z in ((0.5, 0.0), (0.8413, 1.0), (0.1587, -1.0)):
        expected = 1.0 / (1.0 + math.exp(-(1.0 + z)))
        assert abs(float(times.quantile(quantile)) - expected) < 0.01
    assert 0.0 < times.min() < times.max() < 1.0


def test_noised_data_moves_with_the_velocity() -> None:
    data, noise, times = torch.tensor([[2.0], [4.0]]), torch.tensor([[0.0], [-4.0]]), torch.tensor([[0.25], [0.5]])
    torch.testing.assert_close(noised_data(data, noise, times), torch.tensor([[1.5], [0.0]]))
    step = (noised_data(data, noise, times + 0.1) - noised_data(data, noise, times)) / 0.1
    torch.testing.assert_close(step, flow_velocity(data, noise))


def test_the_best_velocity_of_a_gaussian_samples_that_gaussian() -> None:
    """Data N(m, s^2): the mean of noise - data given x_t is linear in x_t; Euler steps along it end at m and s."""
    mean, deviation = 1.5, 0.4
    noise = torch.randn(4000, 1, generator=torch.Generator().manual_seed(1))

    def best(x: torch.Tensor, network_time: float) -> torch.Tensor:
        t = network_time / 1000.0
        variance = (1 - t) ** 2 * deviation**2 + t**2
        return -mean + (t - (1 - t) * deviation**2) / variance * (x - (1 - t) * mean)

    found = sample_flow(noise, best, best, FlowSettings(num_steps=400, guidance=0.0, rescale=1.0))
    assert abs(float(found.mean()) - mean) < 0.02
    assert abs(float(found.std()) - deviation) < 0.02
