"""Section `sample`: generation for held-out videos (Sec. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, one_of, positive


@dataclass(frozen=True)
class SampleConfig:
    """solver: `adaptive` DPM-Solver of order 2 with tolerances atol and rtol, or `multistep` with `steps` steps.

    guidance: scale of classifier-free guidance on the video; 1 is none. batch_size: clips denoised together.
    """

    solver: str
    atol: float
    rtol: float
    steps: int
    guidance: float
    batch_size: int

    def __post_init__(self) -> None:
        one_of("sample.solver", self.solver, ("adaptive", "multistep"))
        positive("sample.atol", self.atol)
        positive("sample.rtol", self.rtol)
        at_least("sample.steps", self.steps, 1)
        at_least("sample.guidance", self.guidance, 0.0)
        at_least("sample.batch_size", self.batch_size, 1)
