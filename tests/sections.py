"""Sections of params.yaml for tests that do not read the file."""

from __future__ import annotations

from typing import Any

from gvf.config.execution import ExecutionConfig
from gvf.config.run import RunConfig


def run_section(seed: int = 0) -> RunConfig:
    """Return a section `run` for the CPU."""
    return RunConfig(preset="cpu", seed=seed, device="cpu")


def execution_section(**changes: Any) -> ExecutionConfig:
    """Return a section `execution` that works in the test's own process, with some fields changed."""
    values: dict[str, Any] = {
        "executor": "inline",
        "workers": 2,
        "clip_seconds": 60.0,
        "clip_memory_gb": 4.0,
        "stages_at_once": 1,
        "threads": None,
        "loader_threads": 0,
        "log_every": 2,
        "checkpoint_every": 4,
        "checkpoint_seconds": 1000.0,
    }
    return ExecutionConfig(**{**values, **changes})
