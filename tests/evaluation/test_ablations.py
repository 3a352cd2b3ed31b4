"""Tables of ablations, from results written by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from gvf_evaluation.ablations import (
    TABLES,
    ablation_frame,
    compare_beyond,
    compare_order,
    compare_to_standing_still,
    seed_noise,
    tables_of,
)

BY_NUMBER = {table.number: table for table in TABLES}


def result(model: str, variant: str, seed: int, psnr: float) -> dict[str, Any]:
    return {
        "model": model,
        "variant": variant,
        "seed": seed,
        "figures": {f"{model}_psnr": psnr, f"{model}_ssim": psnr / 100, f"{model}_gap_closed": 0.5},
    }


def test_mean_and_deviation_over_seeds_beside_published_values() -> None:
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


def test_a_variant_is_in_every_table_that_shows_it() -> None:
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
    return compare_order(table, ablation_frame(table, results), seed_noise(table.model, results))


def test_significance_of_two_variants_is_that_of_a_paired_t_test() -> None:
    for ours, other in (
        ([21.0, 21.3, 21.1], [20.0, 20.3, 20.2]),
        ([21.0, 22.3, 21.7], [20.8, 22.2, 21.4]),  # an unpaired test sees nothing here
        ([21.0, 21.3, 21.1], [20.9, 21.4, 21.0]),
    ):
        results = [result("dit", name, i, v) for name, vs in (("ours", ours), ("o", other)) for i, v in enumerate(vs)]
        noise = seed_noise("dit", [*results, result("vae", "ours", 0, 1.0), result("vae", "ours", 1, 9.0)])
        assert noise.degrees == 2
        difference = sum(ours) / 3 - sum(other) / 3
        assert noise.is_significant(difference, (3, 3), 2) == (scipy.stats.ttest_rel(ours, other).pvalue < 0.05)


def test_noise_is_the_error_of_randomised_complete_blocks() -> None:
    """The sums of squares of the textbook's two-way table, and Tukey's critical difference from it."""
    values = np.array([[20.0, 20.4, 20.1], [20.6, 20.9, 20.8], [21.5, 21.7, 21.4], [21.5, 22.0, 21.8]])
    names = ("A", "B", "C", "ours")
    results = [result("vae", name, seed, v) for name, row in zip(names, values) for seed, v in enumerate(row)]
    noise = seed_noise("vae", results)
    total = ((values - values.mean()) ** 2).sum()
    variants, seeds = 3 * values.mean(1).var() * 4, 4 * values.mean(0).var() * 3
    assert noise.degrees == 6
    assert noise.deviation**2 == pytest.approx((total - variants - seeds) / 6)
    critical = 4.896 * noise.deviation / 3**0.5  # q of 4 means and 6 degrees of freedom at 5 %, from a table
    assert noise.is_significant(1.001 * critical, (3, 3), 4)
    assert not noise.is_significant(0.999 * critical, (3, 3), 4)


def test_a_missing_result_costs_one_degree_of_freedom() -> None:
    results = [result("vae", name, seed, 20.0 + seed) for name in ("A", "B", "ours") for seed in range(3)]
    assert seed_noise("vae", results[:-1]).degrees == seed_noise("vae", results).degrees - 1 == 3
    assert seed_noise("vae", []).degrees == 0


def test_the_published_order_is_recognised() -> None:
    text = order({"A": [20.0, 20.1], "B": [21.0, 21.1], "C": [22.0, 22.1], "ours": [23.0, 23.1]})
    assert "Published: ours > C > B > A. Measured: ours > C > B > A." in text
    assert "Significant differences in the published order: A and B (difference 1.00)," in text
    assert "opposite order" not in text
    assert "seed-to-seed" not in text


def test_pairs_are_significant_in_either_order_or_not() -> None:
    text = order({"A": [21.5, 21.61], "B": [21.0, 21.1], "C": [22.0, 22.1], "ours": [22.05, 22.1]})
    assert (
        "Significant differences in the published order: A and C (difference 0.50), A and ours (difference 0.52), B and C"
        in text
    )
    assert "Significant differences in the opposite order: A and B (difference 0.50)." in text
    assert "Differences within the seed-to-seed variation: C and ours (difference 0.03)." in text


def test_one_seed_shows_no_significant_difference() -> None:
    text = order({"A": [20.0], "B": [21.0], "C": [22.0], "ours": [23.0]})
    assert "Significant" not in text
    assert (
        "Differences within the seed-to-seed variation: A and B (difference 1.00), A and C (difference 2.00)," in text
    )


def test_many_pairs_are_counted_but_swapped_ones_are_named() -> None:
    assert "Differences within the seed-to-seed variation: 21 of 21 pairs." in order(
        {name: [20.0] for name in BY_NUMBER[6].rows}, number=6
    )
    text = order({name: [20.0 + i, 20.0 + i + 0.2 * (-1) ** i] for i, name in enumerate(BY_NUMBER[6].rows)}, number=6)
    assert text.count("(difference ") == 10
    assert "Significant differences in the published order: 11 of 21 pairs." in text


def test_one_variant_has_no_order() -> None:
    assert "Fewer than two variants of Table 2" in order({"A": [20.0]})
    assert isinstance(ablation_frame(BY_NUMBER[3], []), pd.DataFrame)


def test_a_variant_beyond_the_paper_is_compared_with_ours_alone() -> None:
    table = BY_NUMBER[3]
    values = {"ours": (20.0, 20.2), "pixel-aligned": (23.0, 23.1), "no-positions": (19.0, 19.1)}
    results = [result("dit", name, seed, psnr) for name, pair in values.items() for seed, psnr in enumerate(pair)]
    frame = ablation_frame(table, results)
    assert frame["variant"].tolist() == ["no-positions", "ours", "pixel-aligned"]
    assert frame["image_condition"].tolist() == ["tokens", "tokens", "pixel_aligned"]
    assert math.isnan(frame["psnr_published"].tolist()[-1])
    assert tables_of("dit", "pixel-aligned") == [3]
    noise = seed_noise("dit", results)
    assert "pixel-aligned" not in compare_order(table, frame, noise)
    assert compare_beyond(table, frame, noise) == (
        "Beyond the paper, pixel-aligned changes PSNR by +2.95 against ours: a significant difference."
    )
    assert compare_beyond(table, ablation_frame(table, results[:2]), noise) is None
    assert compare_beyond(BY_NUMBER[2], ablation_frame(BY_NUMBER[2], []), noise) is None
    close = [*results[:2], result("dit", "pixel-aligned", 0, 20.01)]
    assert "within the seed-to-seed variation" in str(compare_beyond(table, ablation_frame(table, close), noise))


def test_variants_worse_than_the_static_reference_are_named() -> None:
    table = BY_NUMBER[3]
    for gaps, words in (((-0.1, -0.2), "gap closed from -20.0% to -10.0%"), ((-0.1, 0.2), None), ((), None)):
        results = [result("dit", name, 0, 20.0) for name, _ in zip(table.rows, gaps)]
        for item, gap in zip(results, gaps):
            item["figures"]["dit_gap_closed"] = gap
        said = compare_to_standing_still(table, ablation_frame(table, results))
        assert said is None if words is None else words in str(said)
