"""DPM-Solver++ on data whose denoiser is known exactly, the continuous schedule, and guidance."""

import math

import pytest
import torch
from torch import Tensor

from gvf.diffusion import dpm_solver
from gvf.diffusion.dpm_solver import ContinuousSchedule, DpmSolver, Tolerances
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
    ends = [schedule.alpha_sigma_lambda(torch.tensor(t, dtype=torch.float64)) for t in (1.0, schedule.end_time)]
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
        schedule.timestep(torch.tensor([1.0, 1e-3])), torch.tensor([998.996, -0.004]), atol=1e-3, rtol=0
    )


def test_time_and_lambda_are_inverse_and_monotone() -> None:
    schedule = ContinuousSchedule(cosine_schedule(1000))
    times = torch.linspace(schedule.end_time, 1.0, 500, dtype=torch.float64)
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
    assert (loose.num_steps < middle.num_steps).all()
    assert (middle.num_steps < strict.num_steps).all()
    assert torch.equal(middle.nfe, 2 * middle.num_steps)
    assert middle.num_calls == middle.nfe.max()


def test_steps_that_are_too_long_are_rejected(solver: DpmSolver, noise: Tensor) -> None:
    eager = Tolerances(absolute=1e-3, relative=1e-3, first_step=8.0)
    times: list[Tensor] = []
    solution = solver.sample_adaptive(noise, eager, times.append)
    assert (solution.num_rejected >= 1).all()
    path = torch.stack([torch.ones(len(noise)), *times])
    assert torch.equal((path.diff(dim=0) < 0).sum(0), solution.num_steps - solution.num_rejected)
    assert (solution.sample - exact_flow(solver.schedule, noise)).abs().max() < 5e-3


def curved_velocity(schedule: ContinuousSchedule) -> Prediction:
    """Not linear, so that the error depends on where an item is; each item's velocity depends on that item alone."""
    gaussian = gaussian_velocity(schedule)

    def velocity(noised: Tensor, timesteps: Tensor) -> Tensor:
        bend = 0.3 * (timesteps / 1000).view(-1, 1, 1).to(noised)
        return gaussian(noised, timesteps) + bend * torch.sin(3 * noised)

    return velocity


def sample_one(schedule: ContinuousSchedule, velocity: Prediction, x: Tensor, tolerances: Tolerances):
    """The adaptive solver for one item, in plain numbers: the release's algorithm as its description reads."""

    def at(time: float) -> tuple[float, float, float]:
        alpha, sigma, lambda_ = schedule.alpha_sigma_lambda(torch.tensor(time, dtype=torch.float64))
        return float(alpha), float(sigma), float(lambda_)

    def time_of(lambda_: float) -> float:
        return float(schedule.time_of_lambda(torch.tensor(lambda_, dtype=torch.float64)))

    def data(x: Tensor, time: float) -> Tensor:
        alpha, sigma, _ = at(time)
        timestep = 1000 * (time - 1 / len(schedule.log_alphas))
        return alpha * x - sigma * velocity(x[None], torch.tensor([timestep], dtype=torch.float32))[0]

    def move(x: Tensor, prediction: Tensor, before: float, after: float) -> Tensor:
        (_, sigma_before, lambda_before), (alpha, sigma, lambda_) = at(before), at(after)
        return sigma / sigma_before * x - alpha * math.expm1(lambda_before - lambda_) * prediction

    time, step, low_before, steps, rejected = 1.0, tolerances.first_step, x, 0, 0
    while abs(time - 1e-3) > 1e-5:
        here = at(time)[2]
        following, middle = time_of(here + step), time_of(here + step / 2)
        prediction = data(x, time)
        low = move(x, prediction, time, following)
        high = move(x, data(move(x, prediction, time, middle), middle), time, following)
        scale = (tolerances.relative * torch.maximum(low.abs(), low_before.abs())).clamp(min=tolerances.absolute)
        error = float(((high - low) / scale).square().mean()) ** 0.5
        if error <= 1:
            x, low_before, time = high, low, following
        else:
            rejected += 1
        steps += 1
        step = min(tolerances.safety * step / error**0.5, at(1e-3)[2] - at(time)[2])
    return x, steps, rejected


@pytest.mark.parametrize("tolerances", [PUBLISHED, Tolerances(1e-3, 1e-3, first_step=8.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_item_does_not_depend_on_its_batch(dtype: torch.dtype, tolerances: Tolerances) -> None:
    schedule = cosine_schedule(1000)
    continuous = ContinuousSchedule(schedule)
    velocity = curved_velocity(continuous)
    sizes = torch.tensor([0.3, 1.0, 2.0, 4.0], dtype=dtype).view(4, 1, 1)
    noise = sizes * torch.randn(4, 50, 3, generator=torch.Generator().manual_seed(2), dtype=dtype)
    rows: list[int] = []

    def counted(noised: Tensor, timesteps: Tensor) -> Tensor:
        rows.append(len(noised))
        return velocity(noised, timesteps)

    solver = DpmSolver(schedule, counted)
    together = solver.sample_adaptive(noise, tolerances)
    assert len(rows) == together.num_calls == together.nfe.max()
    assert len(set(together.num_steps.tolist())) > 1, "the items should need different numbers of steps"
    for item in range(4):
        alone = solver.sample_adaptive(noise[item : item + 1], tolerances)
        assert torch.equal(together.sample[item], alone.sample[0])
        assert together.nfe[item] == alone.nfe[0] == alone.num_calls
        assert together.num_rejected[item] == alone.num_rejected[0]
        expected, steps, rejected = sample_one(continuous, velocity, noise[item], tolerances)
        assert (alone.num_steps.item(), alone.num_rejected.item()) == (steps, rejected)
        close = 1e-6 if dtype == torch.float64 else 1e-4
        torch.testing.assert_close(alone.sample[0], expected, atol=close, rtol=close)


def test_the_multistep_solver_is_of_second_order(solver: DpmSolver, noise: Tensor) -> None:
    exact = exact_flow(solver.schedule, noise)
    errors = []
    for steps in (25, 50, 100):
        solution = solver.sample_multistep(noise, steps)
        assert solution.num_calls == steps
        assert solution.nfe.tolist() == [steps] * 4
        errors.append((solution.sample - exact).abs().max().item())
    orders = [math.log2(errors[i] / errors[i + 1]) for i in range(2)]
    assert errors[-1] < 0.01
    assert min(orders) > 1.5, orders


@pytest.mark.parametrize("num_diffusion_steps", [2, 3, 10, 50, 240, 500, 4000])
def test_schedules_of_other_lengths_end_at_their_own_least_noise(num_diffusion_steps: int, noise: Tensor) -> None:
    schedule = cosine_schedule(num_diffusion_steps)
    continuous = ContinuousSchedule(schedule)
    assert continuous.end_time == 1 / num_diffusion_steps
    end_alpha = float(continuous.alpha_sigma_lambda(torch.tensor(continuous.end_time, dtype=torch.float64))[0])
    assert end_alpha == pytest.approx(float(schedule.alphas[0]), rel=0.05)
    solver = DpmSolver(schedule, gaussian_velocity(continuous))
    exact = exact_flow(continuous, noise)
    adaptive = solver.sample_adaptive(noise, STRICT).sample
    torch.testing.assert_close(adaptive, exact, atol=0.01, rtol=0)
    torch.testing.assert_close(solver.sample_multistep(noise, 1000).sample, exact, atol=0.01, rtol=0)


def test_samples_have_the_statistics_of_the_data(solver: DpmSolver) -> None:
    noise = torch.randn(2, 20000, 1, generator=torch.Generator().manual_seed(1))
    times: list[Tensor] = []
    sample = solver.sample_adaptive(noise, MIDDLE, times.append).sample
    assert sample.dtype == torch.float32
    assert abs(sample.mean().item() - MEAN) < 0.01
    assert abs(sample.std().item() - STD) < 0.01
    assert (torch.stack(times).diff(dim=0) <= 0).all()
    assert times[-1].tolist() == pytest.approx([1e-3] * 2, abs=1e-5)


def test_a_broken_network_is_an_error() -> None:
    solver = DpmSolver(cosine_schedule(1000), lambda x, t: torch.full_like(x, float("nan")))
    with pytest.raises(StageError, match="not finite"):
        solver.sample_adaptive(torch.randn(1, 4, 3), PUBLISHED)


def test_steps_without_end_are_an_error(monkeypatch: pytest.MonkeyPatch, solver: DpmSolver, noise: Tensor) -> None:
    monkeypatch.setattr(dpm_solver, "MAX_STEPS", 5)
    with pytest.raises(StageError, match="not at the end after 5 steps"):
        solver.sample_adaptive(noise, STRICT)


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
