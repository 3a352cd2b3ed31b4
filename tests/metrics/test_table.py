"""The table of metrics is complete, consistent, and readable without PyTorch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gvf.metrics.table import METRICS


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_is(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    assert metric.definition.endswith(".")
    assert metric.format.format(1.23456) != metric.format
    assert metric.basis in (
        "image pairs",
        "image pairs with ground-truth alpha",
        "sets of videos",
        "point clouds",
    )
    assert metric.axis_title.startswith(metric.title)


def test_directions_and_weights_are_those_of_the_field() -> None:
    rising = {name for name, metric in METRICS.items() if metric.higher_is_better}
    assert {"psnr", "ssim", "ssim_cropped", "clip"} <= rising
    assert not rising & {"lpips", "lpips_alex", "fvd", "chamfer"}
    needing = {name for name, metric in METRICS.items() if metric.weights is not None}
    assert needing == {"lpips", "lpips_alex", "clip", "fvd"}
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


def test_the_names_need_no_torch() -> None:
    code = "import sys, gvf.metrics.table; print(sorted({'torch', 'numpy', 'PIL', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
