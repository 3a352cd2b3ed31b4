"""E_GS: image features on active voxels to structured latents (Eq. 2, A.1.1; names as in TRELLIS's weights)."""

from __future__ import annotations

from torch import Tensor, nn

from gvf.config.static_vae import StaticVaeConfig
from gvf.models.layers.posterior import INITIAL_LOGVAR, Posterior
from gvf.models.layers.sparse_transformer import SparseTransformer
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.network_folder import StoredNetwork


class SlatEncoder(StoredNetwork, SparseTransformer):
    """Sparse transformer from voxel features to the distribution of one latent per voxel."""

    KIND = "slat-encoder"
    CONFIG = StaticVaeConfig

    def __init__(self, config: StaticVaeConfig) -> None:
        super().__init__(
            config.feature_channels,
            2 * config.latent_channels,
            width=config.width,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            feed_forward_ratio=config.feed_forward_ratio,
            window=config.window,
        )
        self.config = config
        nn.init.constant_(self.out_layer.bias[config.latent_channels :], INITIAL_LOGVAR)

    def forward(self, features: Tensor, voxels: VoxelBatch) -> Posterior:
        """Return mean and logvar, each [M, latent_channels]. features: [M, feature_channels] of the voxels, float."""
        mean, logvar = self.transform(features, voxels).chunk(2, dim=-1)
        return Posterior(mean, logvar)
