"""DPM-Solver++ on data whose denoiser is known exactly, the continuous schedule, and guidance."""

import math

import pytest
import torch
from torch import Tensor

from gvf.diffusion.dpm_solver import END_TIME, ContinuousSchedule, DpmSolver, Tolerances
from gvf.diffusion.guidance import Prediction, guided
from gvf.diffusion.schedule import cosine_schedule
from gvf.errors import StageError

PUBLISHED = Tolerances(absolute=0.0078, relative=0.05)
MIDDLE = Tolerances(absolute=1e-3, relative=1e-3)
STRICT = Tolerances(absolute=1e-4, relative=1e-4)
MEAN, STD = 0.7, 0.3


def gaussian_velocity(schedule: ContinuousSchedule) -> Prediction:
    """The exact velocity for data N(MEAN, STD^2): E[alpha noise - sigma z_0 | z_s], linear in z_s."""

    def velocity(noised: Tensor, timesteps: Tensor) -> Tensor:
        time = timesteps.double() / schedule.num_steps + 1 / len(schedule.log_alphas)
        alpha, sigma, _ = (part.view(-1, 1, 1) for part in schedule.alpha_sigma_lambda(time))
        variance = alpha**2 * STD**2 + sigma**2
        data = MEAN + alpha * STD**2 / variance * (noised - alpha * MEAN)
        noise = (noised - alpha * data) / sigma
        return (alpha * noise - sigma * data).to(noised.dtype)

    return velocity


def exact_flow(schedule: ContinuousSchedule, noise: Tensor) -> Tensor:
    """Where the probability flow takes z: for Gaussian data it keeps the standardised value (z - mean_t) / std_t."""
    ends = [schedule.alpha_sigma_lambda(torch.tensor(t, dtype=torch.float64)) for t in (1.0, END_TIME)]
    (a0, s0, _), (a1, s1, _) = ends
    std0, std1 = ((a**2 * STD**2 + s**2).sqrt() for a, s in ((a0, s0), (a1, s1)))
    return (noise - a0 * MEAN) / std0 * std1 + a1 * MEAN


@pytest.fixture(scope="module")
def solver() -> DpmSolver:
    schedule = cosine_schedule(1000)
    return DpmSolver(schedule, gaussian_velocity(ContinuousSchedule(schedule)))


@pytest.fixture(scope="module")
def noise() -> Tensor:
    return torch.randn(4, 50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_table_is_cut_at_the_noisy_end() -> None:
    schedule = ContinuousSchedule(cosine_schedule(1000))
    assert len(schedule.log_alphas) == 996
    entries = torch.tensor([1, 400, 996], dtype=torch.float64) / 996
    torch.testing.assert_close(schedule.log_alpha(entries), schedule.log_alphas[[0, 399, 995]])
    torch.testing.assert_close(
        schedule.timestep(torch.tensor([1.0, END_TIME])), torch.tensor([998.996, -0.004]), atol=1e-3, rtol=0
    )


def test_time_and_lambda_are_inverse_and_monotone() -> None:
    schedule = ContinuousSchedule(cosine_schedule(1000))
    times = torch.linspace(END_TIME, 1.0, 500, dtype=torch.float64)
    alpha, sigma, lambdas = schedule.alpha_sigma_lambda(times)
    assert (lambdas.diff() < 0).all()
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha))
    torch.testing.assert_close(lambdas, (alpha / sigma).log())
    torch.testing.assert_close(schedule.time_of_lambda(lambdas), times)


def test_the_adaptive_solver_follows_the_exact_flow(solver: DpmSolver, noise: Tensor) -> None:
    exact = exact_flow(solver.schedule, noise)
    loose, middle, strict = (solver.sample_adaptive(noise, tolerances) for tolerances in (PUBLISHED, MIDDLE, STRICT))
    assert (middle.sample - exact).abs().max() < 5e-3
    assert (strict.sample - exact).abs().max() < 5e-4
    # So simple a flow lets the published tolerances, made for images, take long strides.
    assert loose.num_steps < middle.num_steps < strict.num_steps
    assert middle.num_evaluations == 2 * middle.num_steps


def test_steps_that_are_too_long_are_rejected(solver: DpmSolver, noise: Tensor) -> None:
    eager = Tolerances(absolute=1e-3, relative=1e-3, first_step=8.0)
    times: list[float] = []
    solution = solver.sample_adaptive(noise, eager, times.append)
    assert solution.num_rejected >= 1
    assert len(times) == solution.num_steps - solution.num_rejected
    assert (solution.sample - exact_flow(solver.schedule, noise)).abs().max() < 5e-3


def test_the_multistep_solver_is_of_second_order(solver: DpmSolver, noise: Tensor) -> None:
    exact = exact_flow(solver.schedule, noise)
    errors = []
    for steps in (25, 50, 100):
        solution = solver.sample_multistep(noise, steps)
        assert solution.num_evaluations == steps
        errors.append((solution.sample - exact).abs().max().item())
    orders = [math.log2(errors[i] / errors[i + 1]) for i in range(2)]
    assert errors[-1] < 0.01
    assert min(orders) > 1.5, orders


def test_samples_have_the_statistics_of_the_data(solver: DpmSolver) -> None:
    noise = torch.randn(2, 20000, 1, generator=torch.Generator().manual_seed(1))
    times: list[float] = []
    sample = solver.sample_adaptive(noise, MIDDLE, times.append).sample
    assert sample.dtype == torch.float32
    assert abs(sample.mean().item() - MEAN) < 0.01
    assert abs(sample.std().item() - STD) < 0.01
    assert times == sorted(times, reverse=True)
    assert times[-1] == pytest.approx(END_TIME, abs=1e-5)


def test_a_broken_network_is_an_error() -> None:
    solver = DpmSolver(cosine_schedule(1000), lambda x, t: torch.full_like(x, float("nan")))
    with pytest.raises(StageError, match="not finite"):
        solver.sample_adaptive(torch.randn(1, 4, 3), PUBLISHED)


def constant(value: float, calls: list[float]) -> Prediction:
    def prediction(noised: Tensor, timesteps: Tensor) -> Tensor:
        calls.append(value)
        return torch.full_like(noised, value)

    return prediction


@pytest.mark.parametrize(("static_scale", "video_scale"), [(1.0, 1.0), (1.0, 3.0), (2.0, 2.0), (1.5, 4.0), (0.0, 0.0)])
def test_guidance_follows_the_formula_and_computes_no_more_than_it_needs(
    static_scale: float, video_scale: float
) -> None:
    calls: list[float] = []
    n11, n01, n00 = 7.0, 3.0, 2.0
    full, without_video, without_both = (constant(value, calls) for value in (n11, n01, n00))
    prediction = guided(full, without_video, without_both, static_scale=static_scale, video_scale=video_scale)
    result = prediction(torch.zeros(2, 3), torch.zeros(2))
    expected = n00 + static_scale * (n01 - n00) + video_scale * (n11 - n01)
    torch.testing.assert_close(result, torch.full((2, 3), expected))
    assert len(calls) == {(1.0, 1.0): 1, (0.0, 0.0): 1, (1.5, 4.0): 3}.get((static_scale, video_scale), 2)
