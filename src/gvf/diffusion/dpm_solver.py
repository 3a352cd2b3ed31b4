"""DPM-Solver++ of order 2 (Lu et al. 2022), adaptive or in fixed steps, for networks that predict the velocity.

Times t are continuous and run from 1 (noise) to almost 0 (data); the solver takes its steps in lambda = log(alpha/sigma).
The constants below were checked against the published sampler.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gvf.diffusion.guidance import Prediction
from gvf.diffusion.schedule import NoiseSchedule
from gvf.diffusion.velocity import data_from_velocity
from gvf.errors import StageError

START_TIME = 1.0
LEAST_LAMBDA = -5.1  # noisier steps are left out of the table
_ARRIVED = 1e-5  # distance from the end time at which an item counts as finished
MAX_STEPS = 1000  # an adaptive solver that needs more is stuck


class ContinuousSchedule:
    """A discrete schedule as functions of continuous time: log alpha linear between table entries and beyond them.

    end_time: where the solver stops, 1/S (1e-3 for the paper's S of 1000): the least noise that the network was trained on.
    """

    def __init__(self, schedule: NoiseSchedule) -> None:
        log_alphas = schedule.log_alphas
        lambdas = log_alphas - 0.5 * torch.log(-torch.expm1(2.0 * log_alphas))
        self.num_steps = schedule.num_steps
        self.end_time = 1.0 / schedule.num_steps
        self.log_alphas = log_alphas[lambdas >= LEAST_LAMBDA]
        self.times = torch.arange(1, len(self.log_alphas) + 1, dtype=torch.float64) / len(self.log_alphas)

    def log_alpha(self, time: Tensor) -> Tensor:
        """Return log alpha at a time (any shape, float64)."""
        return _interpolate(time, self.times, self.log_alphas)

    def alpha_sigma_lambda(self, time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the factor of the data, the factor of the noise and the logarithm of their ratio."""
        log_alpha = self.log_alpha(time)
        log_sigma = 0.5 * torch.log(-torch.expm1(2.0 * log_alpha))
        return log_alpha.exp(), log_sigma.exp(), log_alpha - log_sigma

    def time_of_lambda(self, value: Tensor) -> Tensor:
        """Return the time at which lambda has this value: the inverse of lambda(t)."""
        log_alpha = -0.5 * torch.nn.functional.softplus(-2.0 * value)
        return _interpolate(log_alpha, self.log_alphas.flip(0), self.times.flip(0))

    def timestep(self, time: Tensor) -> Tensor:
        """Return the timestep given to the network: about 999 at t = 1, slightly below 0 at the end."""
        return (time - 1.0 / len(self.log_alphas)) * self.num_steps


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Interpolate linearly between the points (xs, ys), xs ascending; the first and last pieces are extended outside."""
    upper = torch.searchsorted(xs, x.contiguous()).clamp(1, len(xs) - 1)
    x0, x1, y0, y1 = xs[upper - 1], xs[upper], ys[upper - 1], ys[upper]
    return y0 + (x - x0) * (y1 - y0) / (x1 - x0)


class Point(NamedTuple):
    """A time of the solver with its coefficients: float64 on the CPU, [B], or [1] when shared by all items."""

    time: Tensor
    alpha: Tensor
    sigma: Tensor
    lambda_: Tensor


class Solution(NamedTuple):
    """The solver's result and its cost.

    num_calls: network calls for the whole batch (of the guided prediction, where there is guidance), which determine the
    run time. nfe: [B], the network calls that each item needed, the same in any batch.
    num_steps, num_rejected: [B], steps tried by each item, and how many of them were rejected.
    """

    sample: Tensor
    num_calls: int
    nfe: Tensor
    num_steps: Tensor
    num_rejected: Tensor


@dataclass(frozen=True)
class Tolerances:
    """When the adaptive solver accepts a step, and how it sizes the next.

    absolute, relative: of the difference between first and second order. first_step: in lambda. safety: factor on the
    size that the error estimate allows. The published sampler: 0.0078, 0.05, 0.05, 0.9.
    """

    absolute: float
    relative: float
    first_step: float = 0.05
    safety: float = 0.9


class DpmSolver:
    """Integrates from noise to data with a prediction of the velocity, which may be any callable."""

    def __init__(self, schedule: NoiseSchedule, velocity: Prediction) -> None:
        self.schedule = ContinuousSchedule(schedule)
        self.velocity = velocity
        self.num_calls = 0

    @torch.no_grad()
    def sample_adaptive(
        self, noise: Tensor, tolerances: Tolerances, report: Callable[[Tensor], None] | None = None
    ) -> Solution:
        """Sample with steps sized by the difference between a first- and a second-order step; two network calls each.

        noise: [B, ...]. Every item has its own time, step size and acceptance, so its result does not depend on the
        rest of the batch; the network is called for all items at once, each at its own timestep. Finished items
        remain unchanged until the last one finishes. report: called with the times [B] after each step.
        Raises StageError when an error estimate is not finite or the number of steps exceeds its limit.
        """
        self.num_calls = 0
        x, previous_low = noise, noise
        end_time = self.schedule.end_time
        start, end = (torch.tensor([time], dtype=torch.float64) for time in (START_TIME, end_time))
        here, end_lambda = self._point(start.expand(len(noise))), self._point(end).lambda_
        step = torch.full((len(noise),), tolerances.first_step, dtype=torch.float64)
        num_steps, num_rejected = (torch.zeros(len(noise), dtype=torch.int64) for _ in range(2))
        while (active := (here.time - end_time).abs() > _ARRIVED).any():
            if int(num_steps.max()) == MAX_STEPS:
                raise StageError(f"DPM-Solver: not at the end after {MAX_STEPS} steps. Loosen its tolerances.")
            there = self._at_lambda(here.lambda_ + torch.where(active, step, 0.0))
            data = self._predict_data(x, here)
            low = self._first_order(x, data, here, there)
            high = self._second_order(x, data, here, there)
            bound = (tolerances.relative * torch.maximum(low.abs(), previous_low.abs())).clamp_min(tolerances.absolute)
            error = _root_mean_square((high - low) / bound)
            if not error[active].isfinite().all():
                raise StageError(
                    "DPM-Solver: the network's prediction is not finite. Check its weights and conditions."
                )
            accepted = active & (error <= 1.0)
            x, previous_low = _replaced(accepted, x, high), _replaced(accepted, previous_low, low)
            here = Point(*(torch.where(accepted, new, old) for new, old in zip(there, here)))
            num_steps += active
            num_rejected += active & ~accepted
            step = torch.minimum(tolerances.safety * step * error.clamp_min(1e-10) ** -0.5, end_lambda - here.lambda_)
            if report is not None:
                report(here.time)
        return Solution(x, self.num_calls, 2 * num_steps, num_steps, num_rejected)

    @torch.no_grad()
    def sample_multistep(
        self, noise: Tensor, num_steps: int, report: Callable[[Tensor], None] | None = None
    ) -> Solution:
        """Sample with second-order multistep steps, uniform in time, from the last two predictions; one network call each.

        noise: [B, ...]. With fewer than 10 steps, the last step is of first order, for stability. report: as above.
        """
        self.num_calls = 0
        x = noise
        times = torch.linspace(START_TIME, self.schedule.end_time, num_steps + 1, dtype=torch.float64)
        points = [self._point(time) for time in times.split(1)]
        previous = data = self._predict_data(x, points[0])
        for index in range(1, num_steps + 1):
            here, there = points[index - 1], points[index]
            if index > 1:
                previous, data = data, self._predict_data(x, here)
            if index == 1 or (index == num_steps and num_steps < 10):
                x = self._first_order(x, data, here, there)
            else:
                before = points[index - 2]
                ratio = (here.lambda_ - before.lambda_) / (there.lambda_ - here.lambda_)
                x = self._first_order(x, data + (data - previous) / _factor(2.0 * ratio, x), here, there)
            if report is not None:
                report(there.time.expand(len(x)))
        steps = torch.full((len(noise),), num_steps)
        return Solution(x, self.num_calls, steps, steps, torch.zeros_like(steps))

    def _point(self, time: Tensor) -> Point:
        return Point(time, *self.schedule.alpha_sigma_lambda(time))

    def _at_lambda(self, value: Tensor) -> Point:
        return self._point(self.schedule.time_of_lambda(value))

    def _predict_data(self, x: Tensor, point: Point) -> Tensor:
        self.num_calls += 1
        timesteps = self.schedule.timestep(point.time).to(x.device, torch.float32).expand(len(x))
        velocity = self.velocity(x, timesteps)
        return data_from_velocity(x, velocity, _factor(point.alpha, x), _factor(point.sigma, x))

    def _first_order(self, x: Tensor, data: Tensor, here: Point, there: Point) -> Tensor:
        """Take a first-order step, which is exact if the prediction is constant over the step."""
        decay = torch.expm1(here.lambda_ - there.lambda_)
        return _factor(there.sigma / here.sigma, x) * x - _factor(there.alpha * decay, x) * data

    def _second_order(self, x: Tensor, data: Tensor, here: Point, there: Point) -> Tensor:
        """Take a first-order step to the middle in lambda, then the whole step with the prediction from there."""
        middle = self._at_lambda(0.5 * (here.lambda_ + there.lambda_))
        data_middle = self._predict_data(self._first_order(x, data, here, middle), middle)
        # With r1 = 1/2 the release's data + (data_middle - data) / (2 r1) is the prediction at the middle.
        return self._first_order(x, data_middle, here, there)


def _factor(values: Tensor, like: Tensor) -> Tensor:
    """Reshape one factor per item, [B] or [1], to multiply `like` [B, ...], in its dtype and on its device."""
    return values.to(like).view(-1, *(1,) * (like.dim() - 1))


def _replaced(chosen: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Return [B, ...] with the new values of the chosen items [B] and the old values of the others."""
    return torch.where(chosen.to(old.device).view(-1, *(1,) * (old.dim() - 1)), new, old)


def _root_mean_square(values: Tensor) -> Tensor:
    """Return each item's RMS, [B] float64 on the CPU; summed item by item, so the batch does not affect the result."""
    return torch.stack([item.square().mean().sqrt() for item in values]).double().cpu()
