"""Charts for HTML pages: matplotlib figures as inline SVG, the same bytes for the same values.

Text stays text in the page's font, and colours are the page's CSS variables, so that charts follow its light and dark theme.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, MultipleLocator, NullLocator, PercentFormatter

from gvf import methods

WIDTH, HEIGHT = 340, 190  # in CSS pixels, before the page scales a chart to its column
ROW_HEIGHT = 19  # of one clip or one bar
SMOOTHING = 0.06  # half width of the smoothing window, as a share of the points
LOG_RATIO = 20.0  # a curve that spans more than this factor gets a logarithmic axis
LOWEST_GAP = -1.0  # gaps below this are drawn at the edge
LONGEST_NAME = 20  # characters of a clip's name beside its row
# Colours are written as placeholders, which `_svg` replaces by the CSS variables of style.css.
VARIABLES = ("ink", "quiet", "line", "dit", "vae", "kept", "dropped")
INK, QUIET, LINE, DIT, VAE, KEPT, DROPPED = PLACEHOLDERS = tuple(f"#c0ffe{digit}" for digit in range(len(VARIABLES)))
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that the layout depends on no machine's fonts
    "font.size": 11,
    "text.parse_math": False,  # names from outside may hold dollar signs
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": LINE,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "text.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
_FIGURE = Markup(
    '<figure class="chart"><figcaption>{title}</figcaption>\n<svg viewBox="0 0 {width} {height}" role="img">\n'
    "<title>{context}{title}</title>\n<desc>{description}</desc>\n"
)
# How each method is drawn; dashes tell the lines apart without colour too.
_LINES: dict[str, dict[str, Any]] = {
    methods.STATIC: {"color": DROPPED, "linestyle": ":"},
    methods.INTERPOLATED: {"color": KEPT, "linestyle": "--"},
    methods.VAE: {"color": VAE, "linestyle": "-."},
    methods.DIT: {"color": DIT, "linestyle": "-"},
    methods.REFINED: {"color": DIT, "linestyle": (0, (2, 1))},
    methods.VIDEO_ONLY: {"color": INK, "linestyle": (0, (5, 1, 1, 1, 1, 1))},
}


@contextmanager
def _style() -> Iterator[None]:
    """Replace matplotlib's settings, those of the machine's own matplotlibrc too, while a chart is drawn."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


@_style()
def training_curve(
    stage: str, name: str, steps: Sequence[float], values: Sequence[float], minutes: Sequence[float] | None = None
) -> Markup | None:
    """Draw one column of a training curve, thin, and its smoothed line; return None for fewer than two finite points.

    minutes: of training until each step, which the axis shows in place of the steps where they are known.
    """
    places = np.asarray(steps if minutes is None else minutes, dtype=float)
    curve = pd.Series(np.asarray(values, dtype=float), index=places)
    finite = np.isfinite(curve.to_numpy())
    curve, numbers = curve[finite], np.asarray(steps, dtype=float)[finite]
    if len(curve) < 2:
        return None
    is_log = curve.min() > 0 and curve.max() / curve.min() > LOG_RATIO
    axes = _axes("training step" if minutes is None else "minutes of training", margin=0.02)
    if is_log:
        axes.set_yscale("log")
        _label_powers(axes.yaxis, curve)
    axes.plot(curve.index, curve, color=DIT, linewidth=0.8, alpha=0.4)
    mean = np.exp(smoothed(np.log(curve.to_numpy()))) if is_log else smoothed(curve.to_numpy())
    axes.plot(curve.index, mean, color=DIT)
    duration = "" if minutes is None else f" after {curve.index[-1]:.3g} minutes"
    return _svg(
        axes,
        f"{name.replace('_', ' ')}{', logarithmic axis' if is_log else ''}",
        f"From {curve.iloc[0]:.3g} at step {numbers[0]:g} to {curve.iloc[-1]:.3g} at step {numbers[-1]:g}{duration}; "
        f"lowest {curve.min():.3g}, highest {curve.max():.3g}.",
        context=f"{stage}: ",
    )


def smoothed(values: np.ndarray) -> np.ndarray:
    """Return the weighted mean over a triangular window around each point, cut at the ends: it does not lag behind."""
    reach = max(1, round(SMOOTHING * len(values)))
    window = 1.0 - np.abs(np.arange(-reach, reach + 1)) / (reach + 1)
    inside = slice(reach, -reach)
    return np.convolve(values, window)[inside] / np.convolve(np.ones(len(values)), window)[inside]


@_style()
def quality_over_time(title: str, values: pd.DataFrame, labels: Mapping[str, str]) -> Markup | None:
    """Draw a line per method over the frames of a clip; return None for fewer than two frames.

    values: one row per frame, one column per method. labels: what the legend calls each method, in its order.
    """
    if len(values) < 2:
        return None
    axes = _axes("frame", margin=0.02)
    for method in (name for name in labels if name in values.columns):
        axes.plot(values.index, values[method], label=labels[method], **_LINES[method])
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend(axes)
    means = ", ".join(f"{labels[name]} {values[name].iloc[-1]:.3g}" for name in labels if name in values.columns)
    return _svg(axes, title, f"At the last frame: {means}.")


@_style()
def gap_closed(gaps: pd.DataFrame) -> Markup:
    """Draw how much of the gap the VAE and the DiT close on each clip, in the order of the rows.

    gaps: one row per clip (index), columns vae and dit, NaN for clips without a gap. Values outside the axis are drawn at
    its edge.
    """
    axes = _axes(height=HEIGHT / 3 + ROW_HEIGHT * len(gaps), margin=0)
    rows = range(len(gaps))
    lowest = gaps.min().min()
    low = max(LOWEST_GAP, min(-0.25, np.floor(4 * lowest) / 4)) if np.isfinite(lowest) else -0.25
    clipped = gaps.clip(low, 1.0)
    marks: tuple[dict[str, Any], ...] = (
        {"fillstyle": "none", "color": VAE, "markersize": 8},
        {"color": DIT, "markersize": 5},
    )
    for name, label, mark in zip((methods.VAE, methods.DIT), ("VAE, from the mesh", "DiT, from the video"), marks):
        axes.plot(clipped[name], rows, "o", label=label, **mark)
    for row in np.flatnonzero(gaps.isna().all(axis=1)):
        axes.text(0.02, float(row), "no motion in these views, or failed", va="center", color=QUIET)
    axes.axvline(0, color=QUIET, linewidth=1)
    axes.set(xlim=(low - 0.04, 1.04), ylim=(len(gaps) - 0.4, -0.6), yticks=rows)
    axes.set_yticklabels([_shortened(str(name)) for name in gaps.index])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MultipleLocator(0.25 if low > -0.5 else 0.5))
    _legend(axes)
    return _svg(axes, "Gap closed, by held-out clip", "One row per clip, in the order of the table of values below it.")


@_style()
def quality_against_time(points: pd.DataFrame) -> Markup | None:
    """Draw PSNR against generation time on a logarithmic axis; return None for fewer than two methods.

    points: columns method, is_published, seconds and psnr.
    """
    if len(points) < 2:
        return None
    axes = _axes("seconds per object, logarithmic axis", height=1.2 * HEIGHT, margin=0.12)
    axes.set_xscale("log")
    for is_published, group in points.groupby("is_published"):
        fill, label = ("none", "published") if is_published else ("full", "measured")
        axes.plot(group["seconds"], group["psnr"], "o", color=DIT, fillstyle=fill, label=label)
    middle = np.sqrt(points["seconds"].min() * points["seconds"].max())
    for method, seconds, psnr in points[["method", "seconds", "psnr"]].values.tolist():
        align, offset = ("right", -7) if seconds > middle else ("left", 7)  # towards the middle, where there is room
        axes.annotate(method, (seconds, psnr), (offset, 0), textcoords="offset points", ha=align, va="center")
    _label_powers(axes.xaxis, points["seconds"])
    _legend(axes)
    values = "; ".join(f"{p.method} {p.psnr:.2f} dB in {p.seconds:g} s" for p in points.itertuples())
    return _svg(axes, "PSNR, dB, by generation time", f"{values}.")


@_style()
def clip_counts(counts: pd.DataFrame) -> Markup:
    """Draw how many clips were accepted and rejected. counts: columns label, count and is_accepted, one row per bar."""
    axes = _axes(height=HEIGHT / 3 + ROW_HEIGHT * len(counts), margin=0.05)
    colors = [KEPT if accepted else DROPPED for accepted in counts["is_accepted"]]
    rows, labels = range(len(counts)), counts["label"].tolist()
    bars = axes.barh(rows, counts["count"], color=colors, height=0.75, tick_label=labels)
    axes.bar_label(bars, padding=3)
    axes.set_xlim(0, 1.12 * max(counts["count"].max(), 1))
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    values = "; ".join(f"{label}: {count}" for label, count in zip(labels, counts["count"]))
    return _svg(axes, "Number of clips by decision", f"{values}.")


def _axes(xlabel: str = "", height: float = HEIGHT, margin: float = 0.0) -> Axes:
    """Return the axes of an empty chart. height: in CSS pixels. margin: left free around the data, as a share of each axis."""
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72, layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel)
    axes.margins(margin, 0.08)
    axes.tick_params(length=0)
    return axes


def _label_powers(axis: Axis, values: pd.Series) -> None:
    """Label a logarithmic axis with plain numbers: powers of ten, and their doubles and quintuples on a short axis."""
    is_short = values.max() / values.min() < 100
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if is_short else (1.0,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def _legend(axes: Axes) -> None:
    """Put the legend above the chart, outside of the axes."""
    axes.figure.legend(loc="outside upper left", ncols=2, borderpad=0, columnspacing=1.5)


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _svg(axes: Axes, title: str, description: str, context: str = "") -> Markup:
    """Return the chart as an HTML figure with a description for readers who do not see it.

    context: what sets it apart from charts of the same title.
    """
    buffer = io.StringIO()
    mpl.rcParams["svg.hashsalt"] = (
        context + title + description
    )  # identifiers are unique within a page and always the same
    absent = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.savefig(buffer, format="svg", transparent=True, metadata=absent)
    body = buffer.getvalue()
    body = body[body.index("<g id=") :]
    body = re.sub(r' id="[\w.]+_\d+"', "", body)  # matplotlib's names of groups, the same in every chart
    body = re.sub(r"font-family: [^;\"]+(; )?", "", body)
    for variable, placeholder in zip(VARIABLES, PLACEHOLDERS):
        body = body.replace(placeholder, f"var(--{variable})")
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    return _FIGURE.format(context=context, title=title, description=description, width=width, height=height) + Markup(
        f"{body}</figure>"
    )
