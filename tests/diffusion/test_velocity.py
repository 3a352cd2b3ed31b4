"""The cosine schedule against its definition, and velocities (Eq. 10)."""

import math

import torch

from gvf.diffusion.schedule import cosine_schedule
from gvf.diffusion.velocity import add_noise, data_from_velocity, velocity_target


def test_the_schedule_follows_the_cosine_until_the_clip() -> None:
    schedule = cosine_schedule(1000)
    assert schedule.num_steps == 1000
    assert schedule.betas.dtype == torch.float64
    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    for step in (0, 1, 250, 500, 998):
        level = (step + 1) / 1000
        expected = math.cos((level + 0.008) / 1.008 * math.pi / 2) ** 2 / start
        assert math.isclose(schedule.alphas[step].item() ** 2, expected, rel_tol=1e-9)
    assert schedule.betas[-1] == 0.999
    assert schedule.alphas[-1] > 0  # the last step is not pure noise
    torch.testing.assert_close(schedule.alphas**2 + schedule.sigmas**2, torch.ones(1000, dtype=torch.float64))
    assert (schedule.alphas.diff() < 0).all()


def test_data_come_back_from_the_velocity() -> None:
    schedule = cosine_schedule(1000)
    data, noise = torch.randn(6, 2, 3, 4), torch.randn(6, 2, 3, 4)
    alpha, sigma = schedule.coefficients(torch.tensor([0, 10, 300, 700, 990, 999]), data)
    assert alpha.shape == (6, 1, 1, 1)
    noised = add_noise(data, noise, alpha, sigma)
    velocity = velocity_target(data, noise, alpha, sigma)
    torch.testing.assert_close(data_from_velocity(noised, velocity, alpha, sigma), data, atol=1e-5, rtol=1e-5)


def test_the_velocity_turns_data_into_noise() -> None:
    # With alpha = cos(phi), sigma = sin(phi), the velocity is d z / d phi.
    data, noise = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    phi = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(lambda angle: add_noise(data, noise, angle.cos(), angle.sin()), phi)
    torch.testing.assert_close(velocity_target(data, noise, phi.cos(), phi.sin()).detach(), jacobian)
