"""Charts as numbers: ticks, positions, smoothing."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from gvf_evaluation.reporting.charts import line_chart, lines_chart, log_ticks, scatter_chart, short, smoothed, ticks
from gvf_evaluation.reporting.page import axis_low, axis_position, curves_of, decision_bars, gap_axis, gap_rows


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert ticks(10, 800) == [200, 400, 600, 800]
    assert ticks(-0.13, 0.34) == pytest.approx([-0.1, 0, 0.1, 0.2, 0.3])
    assert log_ticks(0.9, 110) == [1, 10, 100]
    assert log_ticks(0.9, 6) == [1, 2, 5]


def test_a_curve_spans_its_box_with_y_downwards() -> None:
    chart = line_chart("loss", [0, 5, 10], [3.0, 2.0, 1.0])
    assert chart is not None
    assert not chart.logarithmic
    assert chart.last == "1"
    points = [tuple(map(float, point.split())) for point in chart.raw[1:].split("L")]
    assert [x for x, _ in points] == [0, 50, 100]
    # the range 1..3 with a margin of 5 % on either side
    assert [y for _, y in points] == pytest.approx([100 * 0.1 / 2.2, 50, 100 * 2.1 / 2.2], rel=1e-3)


def test_wide_curves_are_logarithmic_and_hopeless_ones_left_out() -> None:
    chart = line_chart("loss", [1, 2, 3], [100.0, 10.0, 1.0])
    assert chart is not None
    assert chart.logarithmic
    assert [tick.text for tick in chart.y_ticks] == ["1", "10", "100"]
    assert line_chart("loss", [1, 2], [1.0, math.nan]) is None
    assert line_chart("loss", [], []) is None
    flat = line_chart("loss", [1, 2], [0.0, 0.0])
    assert flat is not None
    assert flat.raw == "M0 50L100 50"


def test_lines_share_their_axes() -> None:
    chart = lines_chart(
        "PSNR", [0, 1, 2], {"Still": ("static", [10.0, 20.0, 30.0]), "DiT": ("dit", [30.0, 30.0, 30.0])}
    )
    paths = {line.label: [point.split() for point in line.path[1:].split("L")] for line in chart.lines}
    top, bottom = 100 * 1 / 22, 100 * 21 / 22  # the range 10..30 with a margin of 5 % on either side
    assert [float(y) for _, y in paths["Still"]] == pytest.approx([bottom, 50, top], rel=1e-3)
    assert [float(y) for _, y in paths["DiT"]] == pytest.approx([top] * 3, rel=1e-3)
    assert [float(x) for x, _ in paths["DiT"]] == [0, 50, 100]
    assert [tick.text for tick in chart.y_ticks] == ["10", "15", "20", "25", "30"]


def test_points_lie_on_a_logarithmic_axis() -> None:
    chart = scatter_chart("PSNR", [("slow", "published", 1000.0, 10.0), ("fast", "measured", 10.0, 20.0)])
    assert chart is not None
    assert [(point.left, point.bottom, point.flipped) for point in chart.points] == [
        (pytest.approx(100 * 2.1 / 2.2, abs=1e-3), pytest.approx(100 * 0.5 / 11, abs=1e-3), True),
        (pytest.approx(100 * 0.1 / 2.2, abs=1e-3), pytest.approx(100 * 10.5 / 11, abs=1e-3), False),
    ]
    assert [tick.text for tick in chart.x_ticks] == ["10", "100", "1000"]
    assert scatter_chart("PSNR", [("alone", "published", 1.0, 1.0)]) is None


def test_smoothing_keeps_lines_and_means() -> None:
    line = [float(value) for value in range(50)]
    inner = smoothed(line)[10:-10]
    assert inner == pytest.approx(line[10:-10])
    spike = [0.0] * 20 + [1.0] + [0.0] * 20
    assert sum(smoothed(spike)) == pytest.approx(1.0)
    assert max(smoothed(spike)) < 0.5


def test_short_numbers() -> None:
    assert [short(v) for v in (0, 0.25, 800, 12000, 3e-05, 0.123456)] == ["0", "0.25", "800", "12k", "3e-05", "0.123"]


def test_curves_show_results_not_settings_and_the_loss_first() -> None:
    curve = pd.DataFrame({"step": [1, 2], "kl": [1.0, 2.0], "loss": [2.0, 1.0], "learning_rate": [0.1, 0.1]})
    assert [chart.title for chart in curves_of("train-dit", curve).charts] == ["loss", "kl"]


def test_gaps_are_ranked_clamped_and_may_be_missing() -> None:
    rows = [("a", "vae", 0.9), ("a", "dit", -2.0), ("b", "vae", 0.5), ("b", "dit", 0.25)]
    rows += [("c", "vae", math.nan), ("c", "dit", math.nan)]
    table = pd.DataFrame(rows, columns=["clip_id", "method", "gap_closed"])
    shown = gap_rows(table, -0.25)
    assert [row.clip_id for row in shown] == ["b", "a", "c"]
    assert shown[0].dit == axis_position(0.25, -0.25) == 40.0
    assert shown[1].dit == 0.0
    assert shown[1].text == "VAE 90%, DiT -200%"
    assert shown[2].vae is None
    assert shown[2].dit is None
    assert axis_low(table) == -1.0
    assert axis_low(table[table["clip_id"] == "b"]) == -0.25
    assert axis_low(table[table["clip_id"] == "c"]) == -0.25
    assert gap_axis(-0.25)[:2] == [(0.0, "-25%"), (20.0, "0%")]
    assert gap_axis(-0.75) == [(14.29, "-50%"), (42.86, "0%"), (71.43, "50%"), (100.0, "100%")]


def test_decisions_are_counted_by_split_and_reason() -> None:
    clips = pd.DataFrame(
        [("accepted", "train", None), ("accepted", "train", None), ("rejected", None, "motion")],
        columns=["decision", "split", "reason"],
    )
    bars = [(bar.label, bar.count, bar.share) for bar in decision_bars(clips)]
    assert bars == [("accepted, training", 2, 100.0), ("accepted, held out", 0, 0.0), ("rejected: motion", 1, 50.0)]
