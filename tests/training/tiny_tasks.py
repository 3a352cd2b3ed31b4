"""The trainings as tasks over the clips in `tiny_clips`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch

from gvf.config.train_vae_joint import MotionPhaseConfig
from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.canonical.static_vae import StaticVAE
from gvf.models.network_folder import save_network
from gvf.models.variation.joint_vae import JointVAE
from gvf.training.tasks.dit import DitTask
from gvf.training.tasks.joint_vae import JointVaeTask
from gvf.training.tasks.slat_flow import SlatFlowTask, slat_moments
from gvf.training.tasks.ss_flow import SsFlowTask
from gvf.training.tasks.ss_vae import SsVaeTask
from gvf.training.tasks.static_vae import StaticVaeTask
from tests.training import tiny_clips as tiny


def static_vae() -> StaticVaeTask:
    """Return stage 1, from random weights."""
    return StaticVaeTask(
        model_config=tiny.STATIC_VAE,
        config=tiny.TRAIN_STATIC,
        clips=tiny.CLIPS,
        read_features=tiny.load_features,
        read_views=tiny.load_views,
        initialize=lambda model: None,
        inputs=[],
    )


def joint_vae() -> JointVaeTask:
    """Return stage 2, from a static VAE that is always the same."""

    def initialize(model: JointVAE) -> None:
        torch.manual_seed(5)
        model.static.load_state_dict(StaticVAE(tiny.STATIC_VAE).state_dict())

    return JointVaeTask(
        static_config=tiny.STATIC_VAE,
        variation_config=tiny.VARIATION_VAE,
        config=tiny.TRAIN_JOINT,
        clips=tiny.CLIPS,
        read_features=tiny.load_features,
        read_views=tiny.load_views,
        read_points=tiny.load_points,
        initialize=initialize,
        inputs=[],
    )


def motion_first() -> JointVaeTask:
    """Return stage 2 with a relative mesh-guided loss, its first half of steps seeing motion only."""
    task = joint_vae()
    phase = MotionPhaseConfig(steps=5, frames_per_clip=4, points=30, guided_gaussians=12)
    weights = replace(task.config.variation_loss, mesh_guided=0.1, motion_floor=0.02)
    return replace(task, config=replace(task.config, motion_phase=phase, variation_loss=weights))


def dit(image_condition: Literal["tokens", "pixel_aligned", "both"] = "tokens") -> DitTask:
    """Return the training of the diffusion transformer."""
    return DitTask(
        model_config=replace(tiny.VARIATION_DIT, image_condition=image_condition),
        config=tiny.TRAIN_DIT,
        clips=tiny.CLIPS,
        read_latents=tiny.load_latents,
        read_videos=lambda clip: tiny.load_features(clip)["video_tokens"],
        statistics=tiny.statistics(),
        initialize=lambda model: None,
        write=save_network,
        inputs=[],
    )


def slat_flow(image_condition: Literal["tokens", "pixel_aligned", "both"] = "tokens") -> SlatFlowTask:
    """Return the training of the structured latent flow, with an E_GS that is always the same."""
    torch.manual_seed(5)
    encoder = SlatEncoder(tiny.STATIC_VAE).eval().requires_grad_(False)
    return SlatFlowTask(
        model_config=replace(tiny.SLAT_FLOW, image_condition=image_condition),
        config=tiny.TRAIN_APPEARANCE,
        clips=tiny.CLIPS,
        read_examples=tiny.load_image_examples,
        encoder=encoder,
        moments=slat_moments(tiny.CLIPS, tiny.load_image_examples, encoder),
        write=save_network,
        inputs=[],
    )


def structure_vae() -> SsVaeTask:
    """Return the structure VAE's training."""
    return SsVaeTask(
        model_config=tiny.SS_VAE,
        config=tiny.TRAIN_SS_VAE,
        resolution=tiny.RESOLUTION,
        clips=tiny.CLIPS,
        read_examples=tiny.load_image_examples,
        inputs=[],
    )


def structure_flow(image_condition: Literal["tokens", "pixel_aligned", "both"] = "tokens") -> SsFlowTask:
    """Return the structure flow's training."""
    return SsFlowTask(
        model_config=replace(tiny.SS_FLOW, image_condition=image_condition),
        config=tiny.TRAIN_SS_FLOW,
        clips=tiny.CLIPS,
        read_examples=tiny.load_image_examples,
        read_latents=tiny.load_structures,
        write=lambda flow, folder: save_network(flow, folder / "ss_flow"),
        inputs=[],
    )
