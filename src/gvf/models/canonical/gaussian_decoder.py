"""D_GS: structured latents to canonical Gaussians (Eq. 2, A.1.1; names as in TRELLIS's weights)."""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor, nn

from gvf.config.static_vae import StaticVaeConfig
from gvf.gaussians.gaussians import GaussianActivation, Gaussians
from gvf.models.layers.sparse_transformer import SparseTransformer
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.network_folder import StoredNetwork

# Channels of a voxel are attribute-major: all offsets, then all colours, scales, rotations, opacities.
ATTRIBUTE_WIDTHS = {"offsets": 3, "colors": 3, "raw_scales": 3, "raw_quats": 4, "raw_opacities": 1}
GAUSSIAN_CHANNELS = sum(ATTRIBUTE_WIDTHS.values())


def hammersley_points(count: int) -> Tensor:
    """Return points [count, 3] spread evenly over the unit cube: (i/n, radical inverse of i in base 2, in base 3)."""

    def radical_inverse(index: int, base: int) -> float:
        value, weight = 0.0, 1.0 / base
        while index:
            index, digit = divmod(index, base)
            value += digit * weight
            weight /= base
        return value

    points = [(i / count, radical_inverse(i, 2), radical_inverse(i, 3)) for i in range(count)]
    return torch.tensor(points, dtype=torch.float32)


class GaussianDecoder(StoredNetwork, SparseTransformer):
    """Sparse transformer from latents to a few Gaussians in and around each voxel."""

    KIND = "slat-gs-decoder"
    CONFIG = StaticVaeConfig

    offset_perturbation: Tensor

    def __init__(self, config: StaticVaeConfig) -> None:
        super().__init__(
            config.latent_channels,
            config.gaussians_per_voxel * GAUSSIAN_CHANNELS,
            width=config.width,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            feed_forward_ratio=config.feed_forward_ratio,
            window=config.window,
        )
        self.config = config
        self.activation = GaussianActivation(config.scale_bias, config.filter_3d, config.opacity_bias)
        start = (2.0 * hammersley_points(config.gaussians_per_voxel) - 1.0) / config.offset_range
        self.register_buffer("offset_perturbation", torch.atanh(start))
        nn.init.zeros_(self.out_layer.weight)

    def forward(self, latents: Tensor, voxels: VoxelBatch) -> list[Gaussians]:
        """Return the Gaussians of each item, voxel by voxel. latents: [M, latent_channels] of the voxels."""
        decoded = self.arrange(self.transform(latents, voxels), voxels.coords)
        counts = [count * self.config.gaussians_per_voxel for count in voxels.counts]
        starts = accumulate(counts, initial=0)
        return [decoded[start : start + count] for start, count in zip(starts, counts)]

    def arrange(self, channels: Tensor, coords: Tensor) -> Gaussians:
        """Name the decoder's channels and place the offsets in space.

        channels: [M, 14 x Gaussians per voxel]; coords: [M, 3], voxel indices.
        """
        num, resolution = self.config.gaussians_per_voxel, self.config.resolution
        parts = channels.split([num * width for width in ATTRIBUTE_WIDTHS.values()], dim=-1)
        fields = {name: part.unflatten(-1, (num, -1)) for name, part in zip(ATTRIBUTE_WIDTHS, parts)}  # [M, num, width]
        centers = (coords.to(channels.dtype) + 0.5) / resolution - 0.5
        reach = 0.5 * self.config.offset_range / resolution
        means = centers.unsqueeze(1) + reach * torch.tanh(fields["offsets"] + self.offset_perturbation)
        return Gaussians(
            means=means.flatten(0, 1),
            colors=fields["colors"].flatten(0, 1),
            raw_scales=fields["raw_scales"].flatten(0, 1),
            raw_quats=self.config.rotation_rate * fields["raw_quats"].flatten(0, 1),
            raw_opacities=fields["raw_opacities"].flatten(),
            activation=self.activation,
        )
