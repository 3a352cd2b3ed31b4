"""Section `sample`: generation for held-out videos (Sec. 3.3)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, clash
from gvf.config.flow_sampling import FlowSamplingConfig
from gvf.methods import DIT, REFINED, SPLIT, VIDEO_ONLY

Method = Literal["vae", "dit", "refined", "video", "video_true_shape", "video_true_alignment", "video_true_motion"]


@dataclass(frozen=True, config=STRICT)
class SampleConfig:
    """Generation for held-out videos."""

    num_frames: Annotated[int, Field(ge=2)]
    """Frames per held-out clip (T): of the generated motion, its conditioning video and the ground truth. The stage
    `curate` bakes held-out clips at this length; training clips have `curate.num_frames`."""
    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    """What is rendered beside the references: `vae` (reconstruction), `dit` (motion generated from the video), `refined` (the
    same, fitted to the video in `refinement_steps`), `video` (the object too; its motion is refined where there are such steps).
    `video_true_shape`, `video_true_alignment` and `video_true_motion` are `video` with that part taken from the mesh. The stage
    `report` needs the first two."""
    solver: Literal["adaptive", "multistep"]
    """`adaptive` (DPM-Solver of order 2, A.2) or `multistep` with `steps` steps."""
    steps: PositiveInt
    """Steps of the multistep solver."""
    absolute_tolerance: PositiveFloat
    """Absolute error tolerated in a step of the adaptive solver."""
    relative_tolerance: PositiveFloat
    """Relative error tolerated in a step of the adaptive solver."""
    first_step: PositiveFloat
    """First step of the adaptive solver, in log(alpha/sigma)."""
    safety: Annotated[float, Field(ge=0.01, le=1.0)]
    """Factor on the size of the adaptive solver's next step."""
    video_guidance: NonNegativeFloat
    """Scale of classifier-free guidance by the video; 1 for none."""
    static_guidance: NonNegativeFloat
    """Scale of classifier-free guidance by the canonical Gaussians; 1 for none."""
    refinement_steps: NonNegativeInt
    """Steps in which a generated motion is fitted to the video by optimisation, beyond the paper; 0 for none."""
    structure: FlowSamplingConfig
    """Sampling of the structure flow, by which `video` finds the voxels of the first frame."""
    latents: FlowSamplingConfig
    """Sampling of the structured latent flow, by which `video` finds these voxels' latents."""
    batch_size: PositiveInt
    """Clips denoised together."""

    @model_validator(mode="after")
    def _splits_what_is_sampled(self) -> SampleConfig:
        if VIDEO_ONLY not in self.methods and (split := [name for name in self.methods if name in SPLIT]):
            raise clash("methods", f"has {', '.join(split)}, which are compared with {VIDEO_ONLY}. Add {VIDEO_ONLY}.")
        if REFINED in self.methods and DIT not in self.methods:
            raise clash("methods", f"has {REFINED}, which starts from {DIT}. Add {DIT}.")
        if REFINED in self.methods and not self.refinement_steps:
            raise clash(
                "refinement_steps", f"is 0, but methods has {REFINED}, which takes such steps. Set it to 40, say."
            )
        return self
