"""Compute the parameters and the activation memory of the networks for a given load, without weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from gvf.config.static_vae import StaticVaeConfig
from gvf.config.variation_dit import VariationDitConfig
from gvf.config.variation_vae import VariationVaeConfig
from gvf.gaussians.gaussians import NUM_CHANNELS
from gvf.models.activation_memory import peak_activation_bytes
from gvf.models.canonical.gaussian_decoder import GaussianDecoder
from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.layers.attention import KeysValues
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.variation.dit import VariationDiT, VideoCondition
from gvf.models.variation.vae import VariationVAE
from gvf.pipelines.image_memory import decode_grid, denoise_grid, denoise_voxels, guided_voxels, sphere_voxels
from gvf.weights.catalog import published_sizes
from gvf.weights.published import build_published

TRELLIS_RESOLUTION = 64

Run = Callable[[Any], object]


@dataclass(frozen=True)
class Load:
    """What the networks are given: `batch` clips at once.

    frames, points, frame_tokens: T, N and image tokens per frame. vae_frames: frames in a training step of the variation
    VAE, `whole_frames` of them with all Gaussians, the others with `guided_gaussians`.
    """

    static_vae: StaticVaeConfig
    variation_vae: VariationVaeConfig
    variation_dit: VariationDitConfig
    frames: int
    points: int
    frame_tokens: int
    vae_frames: int
    whole_frames: int
    guided_gaussians: int
    batch: int


@dataclass(frozen=True)
class Footprint:
    """Parameters and peak activation memory of one network.

    training, inference: peak bytes of activations of a forward pass over the batch, with and without gradients, at the
    weights' own precision; training is None for networks that are used as published.
    """

    parameters: int
    training: int | None
    inference: int


def footprints(load: Load) -> dict[str, Footprint]:
    """Return the footprints of our networks at the load's sizes, and of TRELLIS's as published."""
    static, vae = load.static_vae, load.variation_vae
    objects = VoxelBatch.pack([sphere_voxels(static.resolution)] * load.batch)
    for shift in (0, static.window // 2):
        objects.windows(static.window, shift)  # tables need real coordinates, before moving to meta
    guided = guided_voxels(sphere_voxels(TRELLIS_RESOLUTION), 2 * load.batch)  # with the image and without
    voxels = objects.to("meta")

    encode = partial(_on_voxels, voxels=voxels, channels=static.feature_channels)
    decode = partial(_on_voxels, voxels=voxels, channels=static.latent_channels)
    num_gaussians = len(objects.coords) // load.batch * static.gaussians_per_voxel
    generate = partial(_decode_clip, load=load, num_gaussians=num_gaussians)
    reconstruct = partial(_train_vae, load=load, num_gaussians=num_gaussians)
    denoise = partial(_denoise_clip, load=load)
    resolution = published_sizes("ss-flow")["resolution"]
    with torch.device("meta"):
        dit = VariationDiT(load.variation_dit, vae.latent_channels)
        return {
            "slat_encoder": _footprint(SlatEncoder(static), encode, encode),
            "gaussian_decoder": _footprint(GaussianDecoder(static), decode, decode),
            "variation_vae": _footprint(VariationVAE(vae), generate, reconstruct),
            "dit": _footprint(dit, denoise, denoise),
            "ss_flow": _footprint(build_published("ss-flow"), partial(denoise_grid, batch=2 * load.batch)),
            "ss_decoder": _footprint(
                build_published("ss-decoder"), partial(decode_grid, batch=load.batch, resolution=resolution)
            ),
            "slat_flow": _footprint(build_published("slat-flow"), partial(denoise_voxels, voxels=guided)),
        }


def _footprint(network: nn.Module, inference: Run, training: Run | None = None) -> Footprint:
    return Footprint(
        sum(parameter.numel() for parameter in network.parameters()),
        None if training is None else peak_activation_bytes(network, training, training=True),
        peak_activation_bytes(network, inference, training=False),
    )


def _on_voxels(network: Any, voxels: VoxelBatch, channels: int) -> object:
    return network(torch.empty(len(voxels.coords), channels), voxels)


def _train_vae(vae: Any, load: Load, num_gaussians: int) -> object:
    """Run the VAE as stage 2 does: whole fields of some frames, some Gaussians in all frames."""
    batch, frames, latents = load.batch, load.vae_frames, load.variation_vae.num_latents
    displacements = torch.empty(batch, frames, load.points, 3)
    positions, interpolated = torch.empty(batch, latents, 3), torch.empty(batch, frames, latents, 3)
    posterior = vae.encode(positions, interpolated, torch.empty(batch, load.points, 3), displacements)
    context = vae.decode_context(posterior.sample())
    whole = KeysValues(*(part[: batch * load.whole_frames] for part in context))
    some = min(load.guided_gaussians, num_gaussians)
    return (
        posterior,
        vae.decode_queries(whole, torch.empty(batch, num_gaussians, NUM_CHANNELS)),
        vae.decode_queries(context, torch.empty(batch, some, NUM_CHANNELS)),
    )


def _decode_clip(vae: Any, load: Load, num_gaussians: int) -> object:
    sizes = load.variation_vae
    latents = torch.empty(load.batch, load.frames, sizes.num_latents, sizes.latent_channels)
    return vae.decode(latents, torch.empty(load.batch, num_gaussians, NUM_CHANNELS))


def _denoise_clip(dit: Any, load: Load) -> object:
    sizes, batch = load.variation_dit, load.batch
    num_latents = load.variation_vae.num_latents
    return dit(
        torch.empty(batch, load.frames, num_latents, load.variation_vae.latent_channels),
        torch.empty(batch),
        VideoCondition(
            torch.empty(batch, load.frames, load.frame_tokens, sizes.image_channels) if sizes.sees_tokens else None,
            torch.empty(batch, load.frames, num_latents, sizes.aligned_channels) if sizes.sees_aligned else None,
        ),
        torch.empty(batch, sizes.num_static, NUM_CHANNELS),
        torch.empty(batch, num_latents, 3),
    )
