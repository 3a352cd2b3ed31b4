"""Sparse structure encoder: occupancy to a latent grid, 64^3 to 16^3 as published (TRELLIS; names as in its weights)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from gvf.config.ss_vae import SsVaeConfig
from gvf.models.image_to_3d.grid_blocks import GridDownsampling, GridResidualBlock, convolution
from gvf.models.layers.norm import ChannelLayerNorm
from gvf.models.layers.posterior import INITIAL_LOGVAR, Posterior
from gvf.models.layers.precision import BlockNetwork
from gvf.models.network_folder import StoredNetwork


class SsEncoder(StoredNetwork, BlockNetwork):
    """Residual convolution network, the mirror image of `SsDecoder`."""

    KIND = "ss-encoder"
    CONFIG = SsVaeConfig

    BLOCKS: ClassVar[tuple[str, ...]] = ("blocks", "middle_block")

    def __init__(self, config: SsVaeConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels[::-1]
        self.input_layer = convolution(1, channels[0])
        blocks: list[nn.Module] = []
        for level, width in enumerate(channels):
            if level:
                blocks.append(GridDownsampling(channels[level - 1], width))
            blocks.extend(GridResidualBlock(width) for _ in range(config.num_res_blocks))
        self.blocks = nn.ModuleList(blocks)
        self.middle_block = nn.Sequential(*(GridResidualBlock(channels[-1]) for _ in range(config.num_middle_blocks)))
        last = convolution(channels[-1], 2 * config.latent_channels)
        assert last.bias is not None
        nn.init.constant_(last.bias[config.latent_channels :], INITIAL_LOGVAR)
        self.out_layer = nn.Sequential(ChannelLayerNorm(channels[-1]), nn.SiLU(), last)

    def forward(self, occupancy: Tensor) -> Posterior:
        """Return the distribution of latents [B, C, R, R, R], R = S / 2 per level after the first. occupancy: [B, S, S, S]."""
        h = self.enter_blocks(self.input_layer(occupancy.float().unsqueeze(1)))
        for block in self.blocks:
            h = block(h)
        return Posterior(*self.out_layer(self.middle_block(h).float()).float().chunk(2, dim=1))
