"""Section `run`: what every stage shares."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, one_of, positive


@dataclass(frozen=True)
class RunConfig:
    """preset: name of the preset the values came from. seed: the one random seed of the whole pipeline.

    device: where networks run; `auto` takes CUDA when there is one.
    executor: how stages map over clips: `process` in worker processes, `ray` in Ray's, on this machine or on the cluster that
    RAY_ADDRESS names, `inline` in the stage's own process, for debugging. workers: clips at a time.
    clip_seconds: how long a worker may take over a clip until it is given up. clip_memory_gb: private memory that a worker may
    take beyond what it starts with, in 1e9 bytes; a clip that needs more is given up. For `collect` and `curate` both are of a
    file with all its clips; `curate` tries the clips of one that was given up one by one. Neither acts `inline`.
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
