"""The page of ablations: where its links lead."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

from evaluation.ablations import TABLES
from gvf.stages.report_ablations import compare_url, of_table


def record(run: str) -> dict[str, str]:
    url = f"https://tracking.example/mlflow/#/experiments/7/runs/{run}?workflowType=machine_learning"
    return {"run_id": run, "experiment_id": "7", "url": url}


def test_runs_of_a_table_are_compared_in_its_order() -> None:
    results = [{"model": model, "variant": name} for model, name in (("vae", "ours"), ("vae", "A"), ("dit", "ours"))]
    assert [row["variant"] for row in of_table(TABLES[0], results)] == ["A", "ours"]
    url = compare_url([record("b"), record("a")])
    assert url is not None
    assert url.startswith("https://tracking.example/mlflow/#/compare-runs?")
    query = parse_qs(urlsplit(urlsplit(url).fragment).query)
    assert {name: json.loads(value) for name, (value,) in query.items()} == {"runs": ["b", "a"], "experiments": ["7"]}


def test_one_run_alone_is_not_compared() -> None:
    assert compare_url([record("a")]) is None
    assert compare_url([]) is None
