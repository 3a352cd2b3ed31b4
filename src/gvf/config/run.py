"""Section `run`: what every stage shares."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, one_of


@dataclass(frozen=True)
class RunConfig:
    """preset: name of the preset the values came from. seed: the one random seed of the whole pipeline.

    device: where networks run; `auto` takes CUDA when there is one. executor, workers: how per-clip stages map over clips.
    """

    preset: str
    seed: int
    device: str
    executor: str
    workers: int

    def __post_init__(self) -> None:
        at_least("run.seed", self.seed, 0)
        one_of("run.device", self.device, ("auto", "cpu", "cuda"))
        one_of("run.executor", self.executor, ("inline", "process", "ray"))
        at_least("run.workers", self.workers, 1)
