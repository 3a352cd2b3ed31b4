"""Section `run`: what every stage shares."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, one_of, positive


@dataclass(frozen=True)
class RunConfig:
    """preset: name of the preset the values came from. seed: the one random seed of the whole pipeline.

    device: where networks run; `auto` takes CUDA when there is one.
    executor: how stages map over clips: `process` in worker processes; `ray` in Ray workers, on this machine or on the
    cluster that RAY_ADDRESS names; `inline` in the stage's own process, for debugging. workers: clips processed at a time.
    clip_seconds: time limit per clip. clip_memory_gb: private memory that a worker may allocate for a clip beyond what it
    starts with, in 1e9 bytes. A clip that exceeds either limit is rejected. For `collect` and `curate` both limits apply
    to a file with all its clips; if a file exceeds one, `curate` retries its clips one by one. `inline` ignores both.
    """

    preset: str
    seed: int
    device: str
    executor: str
    workers: int
    clip_seconds: float
    clip_memory_gb: float

    def __post_init__(self) -> None:
        at_least("run.seed", self.seed, 0)
        one_of("run.device", self.device, ("auto", "cpu", "cuda"))
        one_of("run.executor", self.executor, ("inline", "process", "ray"))
        at_least("run.workers", self.workers, 1)
        positive("run.clip_seconds", self.clip_seconds)
        positive("run.clip_memory_gb", self.clip_memory_gb)
