"""Section `train_vae_joint`: stage 2, training of the variation VAE together with the Gaussian decoder."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, clash
from gvf.config.train_vae_static import CanonicalLossConfig
from gvf.config.training import TrainingConfig


@dataclass(frozen=True, config=STRICT)
class VariationLossConfig:
    """Weights of the variation loss: image L1 (weight 1) + ssim (1 - SSIM) + lpips LPIPS (Eq. 8) + mesh_guided Eq. 9 + kl KL.

    The expectation of every term is independent of how many frames, views and Gaussians a step draws: the image losses
    and KL are means, and Eq. 9 estimates the sum over all frames of a clip.
    """

    ssim: NonNegativeFloat
    """Weight of 1 - SSIM."""
    lpips: NonNegativeFloat
    """Weight of LPIPS."""
    mesh_guided: NonNegativeFloat
    """Weight of the mesh-guided loss (Eq. 9)."""
    mesh_guided_norm: Literal["l2", "l1"]
    """`l2` as in Eq. 9 (squared), or `l1` as the release computes it (a mean over frames)."""
    kl: NonNegativeFloat
    """Weight of the KL divergence."""
    motion_floor: PositiveFloat | None
    """Makes the mesh-guided loss relative: displacements are divided by the RMS displacement of their clip, plus this
    (object units, added in quadrature). Without it, as in Eq. 9, clips of large motion count most."""


@dataclass(frozen=True, config=STRICT)
class MotionPhaseConfig:
    """The first steps of stage 2, in which only the motion is learned: no image is rendered and D_GS is not trained.

    Such a step costs a small part of a complete one, because the canonical Gaussians of stage 1 are computed only once.
    """

    steps: PositiveInt
    """How many of `training.steps`, counted from the first, belong to this phase."""
    frames_per_clip: PositiveInt
    """Frames per clip that a step draws."""
    points: PositiveInt
    """Mesh points per clip, drawn in every step, that the encoder sees; all where a clip has fewer."""
    guided_gaussians: PositiveInt
    """Gaussians per clip, drawn in every step, on which the mesh-guided loss is computed."""


@dataclass(frozen=True, config=STRICT)
class TrainVaeJointConfig:
    """Training of the variation VAE and finetuning of the Gaussian decoder."""

    initial_weights: str | None
    """Folder of the variation VAE that training starts from, such as `variation_vae` of a generator; null for random weights.
    `num_latents` and `drop_path` may differ."""
    frames_per_clip: PositiveInt
    """Frames per clip that a step draws."""
    rendered_frames: PositiveInt
    """How many of these frames the image loss sees, in one view each."""
    guided_gaussians: PositiveInt
    """Gaussians per clip, drawn in every step, on which the mesh-guided loss is computed."""
    decoder_lr_scale: PositiveFloat
    """Learning rate of D_GS divided by that of the other modules."""
    finetune_decoder: bool
    """Whether D_GS is trained; Table 5 compares with a frozen one."""
    motion_phase: MotionPhaseConfig | None
    """The steps that learn only the motion, before the complete ones; none in the paper."""
    variation_loss: VariationLossConfig
    """Weights of the loss on moving Gaussians."""
    canonical_loss: CanonicalLossConfig
    """Weights of stage 1's loss, kept on the canonical Gaussians."""
    training: TrainingConfig
    """Optimiser and its schedule."""

    @model_validator(mode="after")
    def _renders_frames_that_it_draws(self) -> TrainVaeJointConfig:
        if self.rendered_frames > self.frames_per_clip:
            raise clash(
                "rendered_frames",
                f"is {self.rendered_frames}, but must be at most frames_per_clip, which is {self.frames_per_clip}.",
            )
        return self

    @model_validator(mode="after")
    def _has_motion_to_learn(self) -> TrainVaeJointConfig:
        if self.motion_phase is not None and self.variation_loss.mesh_guided == 0.0:
            raise clash(
                "motion_phase",
                "has nothing to learn, because variation_loss.mesh_guided is 0. Set motion_phase to null.",
            )
        return self

    @model_validator(mode="after")
    def _has_complete_steps(self) -> TrainVaeJointConfig:
        if self.motion_phase is not None and self.motion_phase.steps >= self.training.steps:
            raise clash(
                "motion_phase",
                f"takes {self.motion_phase.steps} steps, but must leave some of training.steps, {self.training.steps}, "
                "to complete ones.",
            )
        return self
