"""The sparse structure VAE: encoder and decoder together."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gvf.config.ss_vae import SsVaeConfig
from gvf.models.image_to_3d.ss_decoder import SsDecoder
from gvf.models.image_to_3d.ss_encoder import SsEncoder
from gvf.models.layers.posterior import Posterior
from gvf.models.network_folder import load_network, save_network
from gvf.storage.files import PathLike

SS_ENCODER_FOLDER, SS_DECODER_FOLDER = "ss_encoder", "ss_decoder"


class SsVAE(nn.Module):
    """`encoder` makes the latents that the structure flow models, `decoder` the voxels of what it samples."""

    def __init__(self, config: SsVaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SsEncoder(config)
        self.decoder = SsDecoder(config)

    def forward(self, occupancy: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Posterior]:
        """Return the logits [B, S, S, S] of latents drawn for occupancy [B, S, S, S], and the distribution of these."""
        posterior = self.encoder(occupancy)
        return self.decoder(posterior.sample(generator)), posterior

    @torch.no_grad()
    def rescale(self, deviation: Tensor) -> None:
        """Divide all latents by a deviation [C]: weights change so that the occupancy stays the same up to rounding."""
        last, first = self.encoder.out_layer[-1], self.decoder.input_layer
        assert isinstance(last, nn.Conv3d)
        assert last.bias is not None
        channels = self.config.latent_channels
        last.weight[:channels] /= deviation[:, None, None, None, None]
        last.bias[:channels] /= deviation
        last.bias[channels:] -= 2.0 * deviation.log()
        first.weight *= deviation[None, :, None, None, None]

    def save(self, folder: PathLike) -> None:
        """Write each network into its own folder inside `folder`."""
        save_network(self.encoder, Path(folder) / SS_ENCODER_FOLDER)
        save_network(self.decoder, Path(folder) / SS_DECODER_FOLDER)

    @classmethod
    def load(cls, folder: PathLike) -> SsVAE:
        """Return the VAE that `save` wrote, in eval mode, on the CPU. Raises UserError when a network is missing or damaged."""
        encoder = load_network(SsEncoder, Path(folder) / SS_ENCODER_FOLDER)
        decoder = load_network(SsDecoder, Path(folder) / SS_DECODER_FOLDER)
        with torch.device("meta"):
            vae = cls(decoder.config)
        vae.encoder, vae.decoder = encoder, decoder
        return vae.eval()
