"""Section `tracking`: what is logged to MLflow."""

from __future__ import annotations

from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT


@dataclass(frozen=True, config=STRICT)
class TrackingConfig:
    """Recording of stages with MLflow."""

    enabled: bool
    """Whether each stage opens an MLflow run, in the store of MLFLOW_TRACKING_URI or else in `mlflow.db` here."""
    system_metrics_interval: PositiveFloat
    """Seconds between samples of processor, memory, disk, network and GPU load."""
