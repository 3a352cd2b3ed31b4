"""Tables of ablations from results written down by hand."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from evaluation.ablations import TABLES, ablation_frame, compare_order, tables_of

BY_NUMBER = {table.number: table for table in TABLES}


def result(model: str, variant: str, seed: int, psnr: float) -> dict[str, Any]:
    return {
        "model": model,
        "variant": variant,
        "seed": seed,
        "figures": {f"{model}_psnr": psnr, f"{model}_ssim": psnr / 100, f"{model}_gap_closed": 0.5},
    }


def test_mean_and_deviation_over_seeds_beside_what_was_published() -> None:
    results = [result("vae", "A", 0, 20.0), result("vae", "A", 1, 23.0), result("vae", "ours", 0, 25.0)]
    frame = ablation_frame(BY_NUMBER[2], [*results, result("dit", "ours", 0, 1.0)]).set_index("config")
    assert frame["seeds"].tolist() == [2, 0, 0, 1]
    assert frame.loc["A", "psnr"] == 21.5
    assert frame.loc["A", "psnr_std"] == pytest.approx(4.5**0.5)
    assert frame.loc["A", "ssim"] == pytest.approx(0.215)
    assert math.isnan(frame.loc["B", "psnr"])
    assert frame.loc["D", "psnr"] == 25.0
    assert math.isnan(frame.loc["D", "psnr_std"])
    assert frame["psnr_published"].tolist() == [23.25, 26.17, 28.58, 29.28]
    assert frame["lpips"].isna().all()
    assert "clip" not in frame


def test_a_variant_stands_in_every_table_that_shows_it() -> None:
    assert tables_of("vae", "ours") == [2, 5, 6]
    assert tables_of("dit", "ours") == [3]
    assert tables_of("vae", "k4") == [6]
    results = [result("vae", "ours", 0, 25.0)]
    assert ablation_frame(BY_NUMBER[5], results)["psnr"].tolist()[1] == 25.0
    rows = ablation_frame(BY_NUMBER[6], results)
    (row,) = rows[(rows["num_neighbors"] == 8) & (rows["beta"] == 7.0)].to_dict("records")
    assert row["psnr"] == 25.0


def order(values: dict[str, list[float]], number: int = 2) -> str:
    table = BY_NUMBER[number]
    results = [result(table.model, name, seed, psnr) for name, ps in values.items() for seed, psnr in enumerate(ps)]
    return compare_order(table, ablation_frame(table, results))


def test_the_papers_order_is_told_as_such() -> None:
    text = order({"A": [20.0], "B": [21.0], "C": [22.0], "ours": [23.0]})
    assert "the paper ours > C > B > A; here ours > C > B > A. The same order." in text


def test_a_swap_is_named_and_one_within_the_spread_is_called_so() -> None:
    text = order({"A": [21.5, 21.6], "B": [21.0, 21.1], "C": [22.0, 23.0], "ours": [22.4, 22.5]})
    assert "The order differs for A and B (0.50 apart)." in text
    assert "Swapped within the spread over seeds: C and ours (0.05 apart)." in text
    assert "The same order" not in text


def test_one_variant_has_no_order() -> None:
    assert "fewer than two" in order({"A": [20.0]})
    assert isinstance(ablation_frame(BY_NUMBER[3], []), pd.DataFrame)
