"""Charts as SVG: what they draw, what they leave out, and the same bytes every time."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gvf_evaluation.reporting import charts
from gvf_evaluation.reporting.charts import (
    clip_counts,
    gap_closed,
    quality_against_time,
    quality_over_time,
    smoothed,
    training_curve,
)

LABELS = {"static": "Static", "dit": "DiT generation"}
SVG = "{http://www.w3.org/2000/svg}"


def parsed(figure: str) -> ET.Element:
    """Return the svg element of a chart; attributes that HTML knows by prefix get their namespace."""
    text = str(figure).replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    )
    svg = ET.fromstring(text).find(f"{SVG}svg")
    assert svg is not None
    return svg


def texts(figure: str) -> list[str]:
    return [str(element.text) for element in parsed(figure).iter(f"{SVG}text")]


def described(figure: str) -> str:
    return str(parsed(figure).findtext(f"{SVG}desc"))


def polylines(figure: str, color: str) -> list[np.ndarray]:
    """Return the points [N, 2] of every path stroked in a colour variable, y downwards."""
    paths = [path for path in parsed(figure).iter(f"{SVG}path") if f"stroke: var(--{color})" in path.get("style", "")]
    pairs = [re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.get("d", "")) for path in paths]
    return [np.array(points, float) for points in pairs if len(points) > 1]


def points(values: dict[str, tuple[bool, float, float]]) -> pd.DataFrame:
    rows: list[Any] = [(name, *value) for name, value in values.items()]
    return pd.DataFrame(rows, columns=["method", "is_published", "seconds", "psnr"])


def test_a_curve_is_drawn_to_scale_with_its_smoothed_line() -> None:
    chart = training_curve("train-dit", "mesh_guided", [0, 5, 10], [3.0, 2.0, 1.0])
    assert chart is not None
    assert "<figcaption>mesh guided</figcaption>" in chart
    raw, smooth = polylines(chart, "dit")
    assert np.diff(raw, axis=0) == pytest.approx(np.diff(raw, axis=0)[[0, 0]], rel=1e-3)  # a straight line
    assert raw[1, 1] > raw[0, 1]  # falling values go down
    assert smooth[1] == pytest.approx(raw[1], abs=0.1)
    assert described(chart) == "From 3 at step 0 to 1 at step 10; lowest 1, highest 3."
    assert {"training step", "0", "10"} <= set(texts(chart))


def test_a_curve_is_drawn_against_minutes_where_they_are_known() -> None:
    chart = training_curve("train-dit", "loss", [1, 2, 3], [3.0, 2.0, 1.0], minutes=[0.5, 1.0, 4.0])
    assert chart is not None
    raw = polylines(chart, "dit")[0][:, 0]
    assert (raw[2] - raw[1]) / (raw[1] - raw[0]) == pytest.approx(6.0, rel=1e-2), "3 minutes and half a minute"
    assert "minutes of training" in texts(chart)
    assert described(chart).startswith("From 3 at step 1 to 1 at step 3 after 4 minutes")


def test_wide_curves_are_logarithmic_and_curves_of_one_point_left_out() -> None:
    chart = training_curve("train-dit", "loss", [1, 2, 3], [100.0, 10.0, 1.0])
    assert chart is not None
    assert "<figcaption>loss, logarithmic axis</figcaption>" in chart
    assert {"1", "10", "100"} <= set(texts(chart))
    raw = polylines(chart, "dit")[0]
    assert raw[1] == pytest.approx(raw.mean(axis=0), rel=1e-3)  # decades are equally far apart
    assert training_curve("train-dit", "loss", [1, 2], [1.0, math.nan]) is None
    assert training_curve("train-dit", "loss", [], []) is None
    assert training_curve("train-dit", "loss", [1, 2], [0.0, 0.0]) is not None


def test_smoothing_keeps_lines_and_means() -> None:
    line = np.arange(50.0)
    assert smoothed(line)[10:-10] == pytest.approx(line[10:-10])
    spike = np.eye(41)[20]
    assert smoothed(spike).sum() == pytest.approx(1.0)
    assert smoothed(spike).max() < 0.5
    assert smoothed(np.array([1.0, 3.0])) == pytest.approx([5 / 3, 7 / 3])  # weights 1 and 1/2, by hand


def test_methods_share_axes_and_a_legend() -> None:
    values = pd.DataFrame({"dit": [30.0, 30.0, 30.0], "static": [10.0, 20.0, 30.0]}, index=[0, 1, 2])
    chart = quality_over_time("PSNR [dB]", values, LABELS)
    assert chart is not None
    drawn = texts(chart)
    assert [drawn.index(label) for label in LABELS.values()] == sorted(drawn.index(label) for label in LABELS.values())
    (dit, *_), (static, *_) = polylines(chart, "dit"), polylines(chart, "dropped")
    assert dit[:, 1] == pytest.approx(static[[2, 2, 2], 1])
    assert static[1] == pytest.approx(static.mean(axis=0))
    assert described(chart) == "At the last frame: Static 30, DiT generation 30."
    assert quality_over_time("PSNR [dB]", values.iloc[:1], LABELS) is None


def test_gaps_outside_the_axis_lie_at_its_edge_and_missing_ones_are_explained() -> None:
    gaps = pd.DataFrame({"vae": [0.5, 0.9, math.nan], "dit": [0.25, -2.0, math.nan]}, index=["b", "a", "c" * 40])
    chart = gap_closed(gaps)
    drawn = texts(chart)
    assert "no motion in these views, or failed" in drawn
    assert {"a", "b", "c" * (charts.LONGEST_NAME - 1) + "…"} <= set(drawn)
    assert "−100%" in drawn
    marks = [float(use.get("x", 0)) for use in parsed(chart).iter(f"{SVG}use") if "--dit" in use.get("style", "")]
    zero = polylines(chart, "quiet")[0][0, 0]
    assert (marks[0] - zero) / (zero - marks[1]) == pytest.approx(0.25, rel=1e-3)  # -200 % drawn at -100 %
    assert "−25%" in texts(gap_closed(gaps.iloc[:1]))
    assert "no motion in these views, or failed" in texts(gap_closed(gaps.iloc[2:]))


def test_times_are_drawn_on_a_logarithmic_axis() -> None:
    values = {"slow": (True, 1000.0, 10.0), "middle": (False, 100.0, 15.0), "fast": (False, 10.0, 20.0)}
    chart = quality_against_time(points(values))
    assert chart is not None
    assert {"slow", "middle", "fast", "published", "measured", "10", "100", "1000"} <= set(texts(chart))
    marks = [float(use.get("x", 0)) for use in parsed(chart).iter(f"{SVG}use") if "--dit" in use.get("style", "")]
    middle, fast, slow = marks[:3]  # measured ones are drawn first
    assert middle == pytest.approx((fast + slow) / 2, rel=1e-3)
    assert described(chart).startswith("slow 10.00 dB in 1000 s; middle 15.00 dB in 100 s")
    assert quality_against_time(points({"alone": (True, 1.0, 1.0)})) is None


def test_counts_are_written_beside_their_bars() -> None:
    counts = pd.DataFrame(
        [("accepted, training", 20, True), ("rejected: motion", 10, False)], columns=["label", "count", "is_accepted"]
    )
    chart = clip_counts(counts)
    assert {"accepted, training", "rejected: motion", "20", "10"} <= set(texts(chart))
    assert described(chart) == "accepted, training: 20; rejected: motion: 10."
    widths = {}
    for color in ("kept", "dropped"):
        bars = [path for path in parsed(chart).iter(f"{SVG}path") if f"fill: var(--{color})" in path.get("style", "")]
        xs = [float(x) for x in re.findall(r"[ML] ([\d.]+)", bars[0].get("d", ""))]
        widths[color] = max(xs) - min(xs)
    assert widths["kept"] == pytest.approx(2 * widths["dropped"], rel=1e-3)


def test_names_from_outside_are_escaped() -> None:
    chart = training_curve("train-dit", "<script>", [1, 2], [1.0, 2.0])
    assert chart is not None
    assert "<script" not in chart
    values = {"<b>&": (True, 1.0, 10.0), "$x$ and $y$": (False, 10.0, 20.0)}
    drawn = quality_against_time(points(values))
    assert drawn is not None
    assert {"<b>&", "$x$ and $y$"} <= set(texts(drawn))  # and no formula is made of them


def test_charts_are_the_same_every_time_and_share_no_identifier(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw() -> list[str]:
        return [
            str(training_curve("train-dit", "loss", [1, 2, 3], values)) for values in ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
        ]

    first = draw()
    monkeypatch.setitem(charts.mpl.rcParams, "font.size", 40)  # as a matplotlibrc of the machine may say
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert draw() == first
    names = [set(re.findall(r' id="([^"]*)"', chart)) for chart in first]
    assert names[0]
    assert not names[0] & names[1]
    assert all(name in re.findall(r"#([\w]+)", first[0]) for name in names[0])  # none without a use


def test_colours_are_the_page_s_own() -> None:
    chart = str(training_curve("train-dit", "loss", [1, 2, 3], [1.0, 2.0, 3.0]))
    assert "var(--dit)" in chart
    assert set(re.findall(r"#[0-9a-f]{6}\b", chart)) == set()
    assert "font-family" not in chart
