"""Section `tracking`: what MLflow is told."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import positive


@dataclass(frozen=True)
class TrackingConfig:
    """enabled: open one MLflow run per stage, in the store of MLFLOW_TRACKING_URI, else in `mlflow.db` here.

    system_metrics_interval: seconds between samples of processor, memory, disk, network and GPU load.
    """

    enabled: bool
    system_metrics_interval: float

    def __post_init__(self) -> None:
        positive("tracking.system_metrics_interval", self.system_metrics_interval)
