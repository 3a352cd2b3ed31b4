"""Section `sample`: generation for held-out videos (Sec. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, between, one_of, positive

METHODS = ("vae", "dit")


@dataclass(frozen=True)
class SampleConfig:
    """methods: what is drawn beside the references: `vae` (reconstruction), `dit` (generation); the last one's Gaussians
    are kept. The stage `report` needs both.

    num_frames: T of held-out clips: of the generated motion, its conditioning video and the ground truth. The stage
    `curate` bakes them at this length. Training clips have `curate.num_frames`.

    solver: `adaptive` (DPM-Solver of order 2, A.2) or `multistep` with `steps` steps.

    absolute_tolerance, relative_tolerance: of an adaptive step. first_step: of it, in log(alpha/sigma). safety: factor
    on the size of the next one. video_guidance, static_guidance: scales of classifier-free guidance; 1 is none.
    batch_size: clips denoised together.
    """

    num_frames: int
    methods: tuple[str, ...]
    solver: str
    steps: int
    absolute_tolerance: float
    relative_tolerance: float
    first_step: float
    safety: float
    video_guidance: float
    static_guidance: float
    batch_size: int

    def __post_init__(self) -> None:
        at_least("sample.num_frames", self.num_frames, 2)
        for name in self.methods:
            one_of("sample.methods", name, METHODS)
        at_least("sample.methods (how many)", len(self.methods), 1)
        one_of("sample.solver", self.solver, ("adaptive", "multistep"))
        at_least("sample.steps", self.steps, 1)
        positive("sample.absolute_tolerance", self.absolute_tolerance)
        positive("sample.relative_tolerance", self.relative_tolerance)
        positive("sample.first_step", self.first_step)
        between("sample.safety", self.safety, 0.01, 1.0)
        at_least("sample.video_guidance", self.video_guidance, 0.0)
        at_least("sample.static_guidance", self.static_guidance, 0.0)
        at_least("sample.batch_size", self.batch_size, 1)
