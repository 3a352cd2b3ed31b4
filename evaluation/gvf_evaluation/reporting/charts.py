"""Charts as plain numbers for the page's templates: positions in percent, so that CSS lays them out at any width."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SMOOTHING = 0.06  # half width of the smoothing window, as a share of the points
LOG_RATIO = 20.0  # a curve that spans more than this factor is drawn on a logarithmic axis


@dataclass(frozen=True)
class Tick:
    """position: percent of the axis from its start. text: what it says."""

    position: float
    text: str


@dataclass(frozen=True)
class LineChart:
    """raw, smooth: path data in a box of 100 x 100, y downwards. last: the curve's last value as text."""

    title: str
    raw: str
    smooth: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    logarithmic: bool
    last: str


@dataclass(frozen=True)
class Line:
    """One of several lines. kind: its style. path: as in `LineChart`."""

    label: str
    kind: str
    path: str


@dataclass(frozen=True)
class Lines:
    """Several lines over the same x."""

    title: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


@dataclass(frozen=True)
class Point:
    """left, bottom: percent of the axes. flipped: its label stands to the left, where the right has no room."""

    label: str
    kind: str
    left: float
    bottom: float
    flipped: bool


@dataclass(frozen=True)
class Scatter:
    """Points over a logarithmic x."""

    title: str
    points: list[Point]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def lines_chart(title: str, x: Sequence[float], lines: Mapping[str, tuple[str, Sequence[float]]]) -> Lines:
    """Lines over the same two or more x. lines: label -> (kind, values), all finite."""
    low, high = _span([value for _, values in lines.values() for value in values])
    across = [_share(value, x[0], x[-1]) for value in x]
    return Lines(
        title,
        [
            Line(label, kind, _path(across, [100 - _share(value, low, high) for value in values]))
            for label, (kind, values) in lines.items()
        ],
        [Tick(_share(v, x[0], x[-1]), short(v)) for v in ticks(x[0], x[-1])],
        [Tick(_share(v, low, high), short(v)) for v in ticks(low, high)],
    )


def scatter_chart(title: str, points: Sequence[tuple[str, str, float, float]]) -> Scatter | None:
    """Points (label, kind, x above zero, y), x on a logarithmic axis; None for fewer than two."""
    if len(points) < 2:
        return None
    left, right = _span([math.log10(x) for _, _, x, _ in points])
    low, high = _span([y for *_, y in points])
    placed = []
    for label, kind, x, y in points:
        across = _share(math.log10(x), left, right)
        placed.append(Point(label, kind, across, _share(y, low, high), across > 55))
    return Scatter(
        title,
        placed,
        [Tick(_share(math.log10(v), left, right), short(v)) for v in log_ticks(10**left, 10**right)],
        [Tick(_share(v, low, high), short(v)) for v in ticks(low, high)],
    )


def line_chart(title: str, steps: Sequence[float], values: Sequence[float]) -> LineChart | None:
    """A curve over steps, with its smoothed line; None when there are fewer than two finite points."""
    points = [(float(x), float(y)) for x, y in zip(steps, values) if math.isfinite(y)]
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return None
    xs, ys = [x for x, _ in points], [y for _, y in points]
    logarithmic = min(ys) > 0 and max(ys) / min(ys) > LOG_RATIO
    scaled = [math.log10(y) for y in ys] if logarithmic else ys
    low, high = _span(scaled)
    if logarithmic:
        y_ticks = [Tick(_share(math.log10(v), low, high), short(v)) for v in log_ticks(10**low, 10**high)]
    else:
        y_ticks = [Tick(_share(v, low, high), short(v)) for v in ticks(low, high)]
    x_ticks = [Tick(_share(v, xs[0], xs[-1]), short(v)) for v in ticks(xs[0], xs[-1])]
    across = [_share(x, xs[0], xs[-1]) for x in xs]
    return LineChart(
        title,
        _path(across, [100 - _share(y, low, high) for y in scaled]),
        _path(across, [100 - _share(y, low, high) for y in smoothed(scaled)]),
        x_ticks,
        y_ticks,
        logarithmic,
        short(ys[-1]),
    )


def smoothed(values: Sequence[float]) -> list[float]:
    """Mean over a triangular window around each point, cut at the ends: it does not lag behind the curve."""
    reach = max(1, round(SMOOTHING * len(values)))
    result = []
    for centre in range(len(values)):
        inside = range(max(0, centre - reach), min(len(values), centre + reach + 1))
        weights = [reach + 1 - abs(index - centre) for index in inside]
        result.append(sum(w * values[index] for w, index in zip(weights, inside)) / sum(weights))
    return result


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers from `low` to `high`: steps of 1, 2 or 5 times a power of ten, about `wanted` of them."""
    step = 10 ** math.floor(math.log10((high - low) / wanted))
    step *= min((1, 2, 5, 10), key=lambda factor: abs((high - low) / (factor * step) - wanted))
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from `low` to `high`, with their doubles and quintuples when there are fewer than three."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        found = [factor * 10.0**exponent for exponent in exponents for factor in factors]
        found = [value for value in found if low <= value <= high]
        if len(found) >= 3:
            break
    return found


def short(value: float) -> str:
    """A number in few characters: 0, 0.25, 800, 12k, 3e-05."""
    if value == 0:
        return "0"
    if abs(value) >= 10_000 and value % 1000 == 0:
        return f"{value / 1000:g}k"
    return f"{value:.3g}" if 1e-4 <= abs(value) < 1e3 else f"{value:.4g}"


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Least and greatest with a margin of 5 % on either side; one around values that are all the same."""
    low, high = min(values), max(values)
    if high == low:
        low, high = low - 0.5, high + 0.5
    margin = 0.05 * (high - low)
    return low - margin, high + margin


def _share(value: float, low: float, high: float) -> float:
    return round(100 * (value - low) / (high - low), 3)


def _path(xs: Sequence[float], ys: Sequence[float]) -> str:
    return "M" + "L".join(f"{x:g} {y:.5g}" for x, y in zip(xs, ys))
