"""The canonical mesh-to-Gaussians autoencoder of stage 1: E_GS and D_GS together (Eq. 2)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gvf.config.static_vae import StaticVaeConfig
from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.models.canonical.gaussian_decoder import GaussianDecoder
from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.layers.posterior import Posterior
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.network_folder import load_network, save_network
from gvf.storage.files import PathLike

ENCODER_FOLDER, DECODER_FOLDER = "slat_encoder", "gaussian_decoder"


class StaticVAE(nn.Module):
    """`encoder` (E_GS) and `decoder` (D_GS). Stage 2 keeps the first unchanged and finetunes the second."""

    def __init__(self, config: StaticVaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SlatEncoder(config)
        self.decoder = GaussianDecoder(config)

    def encode(self, features: Tensor, voxels: VoxelBatch) -> Posterior:
        """Return the distribution of S_1 = E_GS(M_1), [M, latent_channels], from features [M, F] of the voxels."""
        return self.encoder(features, voxels)

    def decode(self, latents: Tensor, voxels: VoxelBatch) -> list[Gaussians]:
        """Return G_1 = D_GS(S_1), the Gaussians of each item, from latents [M, C] of the voxels."""
        return self.decoder(latents, voxels)

    @classmethod
    def of(cls, encoder: SlatEncoder, decoder: GaussianDecoder) -> StaticVAE:
        """Return the autoencoder made of two networks. Raises UserError when the latents of one do not fit the other."""
        produced, taken = encoder.config.latent_channels, decoder.config.latent_channels
        if produced != taken:
            raise UserError(
                f"{ENCODER_FOLDER} makes latents of {produced} channels, {DECODER_FOLDER} takes {taken}. Use networks "
                "that were trained together."
            )
        with torch.device("meta"):
            vae = cls(decoder.config)
        vae.encoder, vae.decoder = encoder, decoder
        return vae.eval()

    def save(self, folder: PathLike) -> None:
        """Write each network into its own folder inside `folder`."""
        save_network(self.encoder, Path(folder) / ENCODER_FOLDER)
        save_network(self.decoder, Path(folder) / DECODER_FOLDER)

    @classmethod
    def load(cls, folder: PathLike) -> StaticVAE:
        """Return the autoencoder that `save` wrote, in eval mode, on the CPU. Raises UserError when it does not fit."""
        encoder = load_network(SlatEncoder, Path(folder) / ENCODER_FOLDER)
        return cls.of(encoder, load_network(GaussianDecoder, Path(folder) / DECODER_FOLDER))
