"""Section `execution`: how the work is done. It changes neither data nor weights, so changing it reruns nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT


@dataclass(frozen=True, config=STRICT)
class ExecutionConfig:
    """How the work is done. Neither data nor weights depend on it beyond rounding, so no stage of dvc.yaml lists it.

    A clip that exceeds a limit is rejected. To give rejected clips another chance after raising a limit, run the stage
    with `dvc repro --force --single-item`. For `collect` and `curate` both limits apply to a file with all its clips; if
    a file exceeds one, `curate` retries its clips one by one. The executor `inline` ignores both.
    """

    executor: Literal["inline", "process", "ray"]
    """How stages map over clips: `process` in worker processes; `ray` in Ray workers, on this machine or on the cluster
    that RAY_ADDRESS names; `inline` in the stage's own process, for debugging."""
    workers: PositiveInt
    """Clips processed at a time. On a CPU, the stage `sample` has up to as many threads instead of worker processes, without the
    limits below."""
    stages_at_once: PositiveInt
    """Stages that `make repro` and the flows run at the same time, as far as their inputs allow."""
    threads: PositiveInt | None
    """Threads with which torch computes in a stage on CPU; null: its default, one per core. Where OMP_NUM_THREADS is set, it
    decides. Weights trained with different numbers of threads differ by rounding."""
    clip_seconds: PositiveFloat
    """Time limit per clip."""
    clip_memory_gb: PositiveFloat
    """Private memory that a worker may allocate for a clip beyond what it starts with, in 1e9 bytes."""
    loader_threads: NonNegativeInt
    """Threads that read training batches ahead; 0 reads between steps."""
    log_every: PositiveInt
    """Optimiser steps that a point of the training curves averages over, and so does the final loss that is reported."""
    checkpoint_every: PositiveInt
    """Optimiser steps after which a checkpoint is written, unless `checkpoint_seconds` have passed first."""
    checkpoint_seconds: PositiveFloat
    """Seconds after which a checkpoint is written, unless `checkpoint_every` steps have passed first."""
