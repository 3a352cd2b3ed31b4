"""Section `ss_vae`: the sparse structure VAE, occupancy of the voxel grid to a latent grid and back (TRELLIS)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT


@dataclass(frozen=True, config=STRICT)
class SsVaeConfig:
    """Sizes of the sparse structure VAE; its encoder mirrors its decoder."""

    latent_channels: PositiveInt
    """Channels of a cell of the latent grid."""
    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Channels of each level, coarse to fine; each level after the first doubles the resolution."""
    num_res_blocks: PositiveInt
    """Residual blocks per level."""
    num_middle_blocks: PositiveInt
    """Residual blocks at the coarsest level, beside its own."""

    @property
    def scale(self) -> int:
        """Return how many voxels lie along the edge of a latent cell."""
        return 2 ** (len(self.channels) - 1)
