"""Estimate the memory that the networks from an image to canonical Gaussians take, before they start."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gvf.config.flow_transformer import FlowTransformerConfig
from gvf.errors import UserError
from gvf.execution.free_memory import free_bytes
from gvf.models.activation_memory import on_meta, peak_activation_bytes
from gvf.models.image_to_3d.flow_transformer import ImageCondition
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.pipelines.image_to_canonical import ImageToCanonical

IMAGE_TOKENS = 1374  # of an image for TRELLIS's networks: patches, class and registers of DINOv2
SPHERE_RADIUS = 0.45  # box sides
_HEADROOM = 1.2  # free memory demanded, as a multiple of the estimate


def estimate_image_memory(networks: ImageToCanonical, num_images: int = 1) -> int:
    """Return the most bytes that activations occupy at once, for objects with as many voxels as a sphere in the unit box.

    Nothing is computed: copies of the networks run on the meta device. Guidance doubles the batch of both flows.
    """
    voxels = sphere_voxels(networks.gaussian_decoder.config.resolution)
    guided = guided_voxels(voxels, 2 * num_images)
    objects = VoxelBatch.pack([voxels] * num_images)
    for shift in (0, networks.gaussian_decoder.config.window // 2):
        objects.windows(networks.gaussian_decoder.config.window, shift)  # tables need real coordinates
    packed, sizes = objects.to("meta"), networks.gaussian_decoder.config
    resolution = networks.ss_flow.config.resolution
    runs = (
        (networks.ss_flow, lambda flow: denoise_grid(flow, 2 * num_images)),
        (networks.ss_decoder, lambda decoder: decode_grid(decoder, num_images, resolution)),
        (networks.slat_flow, lambda flow: denoise_voxels(flow, guided)),
        (networks.gaussian_decoder, lambda net: net(torch.empty(len(packed.coords), sizes.latent_channels), packed)),
    )
    return max(peak_activation_bytes(on_meta(network), run, training=False) for network, run in runs)


def demand_image_memory(networks: ImageToCanonical, num_images: int = 1) -> None:
    """Raise UserError when the networks' device lacks the memory for images."""
    needed, free = _HEADROOM * estimate_image_memory(networks, num_images), free_bytes(networks.device)
    if needed > free:
        raise UserError(
            f"the canonical Gaussians: the networks from an image need about {needed / 2**30:.1f} GiB of memory besides their "
            f"weights; {free / 2**30:.1f} GiB are free. Close other programs, use a machine with more memory, or give a model "
            "or a PLY file of Gaussians instead of an image."
        )


def sphere_voxels(resolution: int) -> Tensor:
    """Return the voxels [M, 3] that a sphere of radius 0.45 box sides passes through: 10k at 64^3, as of an object."""
    axis = torch.arange(resolution)
    cells = torch.cartesian_prod(axis, axis, axis)
    distance = (cells - 0.5 * (resolution - 1)).norm(dim=1)
    return cells[(distance - SPHERE_RADIUS * resolution).abs() <= 0.5]


def guided_voxels(voxels: Tensor, count: int) -> VoxelBatch:
    """Return `count` objects on the meta device with the tables of the structured latent flow, made from real coordinates."""
    guided = VoxelBatch.pack([voxels] * count)
    assert guided.neighbors.here
    assert guided.coarse.neighbors.here
    return guided.to("meta")


def denoise_grid(flow: Any, batch: int) -> object:
    """Run one call of the structure flow."""
    sizes = flow.config
    conditions = flow.prepare_conditions(_condition(sizes, batch, batch * sizes.resolution**3))
    noised = torch.empty(batch, sizes.latent_channels, *(sizes.resolution,) * 3)
    return flow.denoise(noised, torch.empty(batch), conditions)


def decode_grid(decoder: Any, batch: int, resolution: int) -> object:
    """Run the structure decoder. resolution: of its input."""
    return decoder(torch.empty(batch, decoder.config.latent_channels, *(resolution,) * 3))


def denoise_voxels(flow: Any, voxels: VoxelBatch) -> object:
    """Run one call of the structured latent flow."""
    batch, sizes = len(voxels.counts), flow.config
    conditions = flow.prepare_conditions(_condition(sizes, batch, len(voxels.coords)))
    noised = torch.empty(len(voxels.coords), sizes.latent_channels)
    return flow.denoise(noised, torch.empty(batch), voxels, conditions)


def _condition(sizes: FlowTransformerConfig, batch: int, rows: int) -> ImageCondition:
    """Return an image condition of the shapes that a flow takes."""
    return ImageCondition(
        torch.empty(batch, IMAGE_TOKENS, sizes.image_channels) if sizes.sees_tokens else None,
        torch.empty(rows, sizes.aligned_channels) if sizes.sees_aligned else None,
    )
