"""The report of ablations: which results it shows, how values are formatted, where its links lead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from gvf.config.ablations import Ablations
from gvf.errors import UserError
from gvf.workspace import Workspace
from gvf_evaluation.ablations import TABLES, ablation_frame, listed_results, of_table
from gvf_evaluation.reporting.ablations_page import compare_url, presented

LISTED = Ablations((0, 1), {}, {"vae": {"A": {}, "ours": {}}, "dit": {}})


def write_result(variant: str, seed: int, **changes: Any) -> None:
    values = {"model": "vae", "variant": variant, "seed": seed, "preset": "cpu", "data": "balls", "data_digest": "1f"}
    Workspace().ablation_results.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**values, "figures": {"vae_psnr": 20.0 + seed}, **changes})
    (Workspace().ablation_results / f"vae-{variant}-{seed}.json").write_text(text)


def test_only_listed_variants_and_seeds_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no result.*dvc repro ablations"):
        listed_results(Workspace(), LISTED)
    for variant, seed in (("ours", 1), ("A", 0), ("A", 7), ("extra", 0)):
        write_result(variant, seed)
    assert [(row["variant"], row["seed"]) for row in listed_results(Workspace(), LISTED)] == [("A", 0), ("ours", 1)]


@pytest.mark.parametrize("field", ["preset", "data", "data_digest"])
def test_results_of_other_data_are_not_mixed(field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_result("A", 0)
    write_result("ours", 0, **{field: "other"})
    with pytest.raises(UserError, match=f"different values of {field} .* cannot be compared"):
        listed_results(Workspace(), LISTED)


def test_published_values_have_the_papers_decimals() -> None:
    by_number = {table.number: presented(ablation_frame(table, [])) for table in TABLES}
    assert by_number[5]["lpips_published"].tolist() == ["0.0460", "0.0439"]
    assert by_number[2]["psnr_published"].tolist() == ["23.25", "26.17", "28.58", "29.28"]
    assert by_number[3][["lpips_published", "fvd_published"]].values.tolist() == [
        ["0.121", "547.20"],
        ["0.114", "476.83"],
        ["n/a", "n/a"],
    ]


def test_measured_values_have_their_deviation() -> None:
    results = [
        {"model": "vae", "variant": "A", "seed": seed, "figures": {"vae_psnr": psnr}}
        for seed, psnr in enumerate((20, 23))
    ]
    shown = presented(ablation_frame(TABLES[0], results))
    assert shown["psnr"].tolist() == ["21.50 ± 2.12", "n/a", "n/a", "n/a"]
    assert "psnr_std" not in shown
    assert isinstance(shown, pd.DataFrame)


def record(parent: str, run: str) -> dict[str, str]:
    url = f"https://tracking.example/mlflow/#/experiments/7/runs/{run}?workflowType=machine_learning"
    return {"run_id": run, "parent_id": parent, "experiment_id": "7", "url": url}


def test_parents_of_a_table_are_compared_in_its_order() -> None:
    results = [{"model": model, "variant": name} for model, name in (("vae", "ours"), ("vae", "A"), ("dit", "ours"))]
    assert [row["variant"] for row in of_table(TABLES[0], results)] == ["A", "ours"]
    url = compare_url([record("b", "1"), record("b", "2"), record("a", "3")])
    assert url is not None
    assert url.startswith("https://tracking.example/mlflow/#/compare-runs?")
    query = parse_qs(urlsplit(urlsplit(url).fragment).query)
    assert {name: json.loads(value) for name, (value,) in query.items()} == {"runs": ["b", "a"], "experiments": ["7"]}


def test_one_variant_alone_is_not_compared() -> None:
    assert compare_url([record("a", "1"), record("a", "2")]) is None
    assert compare_url([]) is None
