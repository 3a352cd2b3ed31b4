"""What every stage has around it: checked parameters, one tracked run, one metrics file."""

from __future__ import annotations

import importlib
from pathlib import Path

from gvf import tracking
from gvf.config.load import as_dict, load_params
from gvf.files import write_json

METRICS_DIRECTORY = Path("reports/metrics")


def run_stage(name: str, module: str, params_path: str) -> None:
    """Run stage `name`: `module.run(params)` inside one tracked run; its metrics go to `reports/metrics/<name>.json`."""
    params = load_params(params_path)
    with tracking.stage_run(name, as_dict(params), params.tracking):
        # Imported after tracking has started, so that torch and MLflow load side by side.
        metrics = importlib.import_module(module).run(params)
        tracking.log_metrics(metrics)
        write_json(METRICS_DIRECTORY / f"{name}.json", metrics)
