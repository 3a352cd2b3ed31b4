"""The canonical mesh-to-Gaussians autoencoder of stage 1: E_GS and D_GS together (Eq. 2)."""

from __future__ import annotations

from torch import Tensor, nn

from gvf.config.static_vae import StaticVaeConfig
from gvf.gaussians.gaussians import Gaussians
from gvf.models.canonical.gaussian_decoder import GaussianDecoder
from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.layers.posterior import Posterior
from gvf.models.layers.voxel_batch import VoxelBatch


class StaticVAE(nn.Module):
    """`encoder` (E_GS) and `decoder` (D_GS); stage 2 keeps the first as it is and goes on training the second."""

    def __init__(self, config: StaticVaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SlatEncoder(config)
        self.decoder = GaussianDecoder(config)

    def encode(self, features: Tensor, voxels: VoxelBatch) -> Posterior:
        """S_1 = E_GS(M_1): features [M, F] of the voxels to latents [M, C] each."""
        return self.encoder(features, voxels)

    def decode(self, latents: Tensor, voxels: VoxelBatch) -> list[Gaussians]:
        """G_1 = D_GS(S_1): latents [M, C] to the Gaussians of each item."""
        return self.decoder(latents, voxels)
