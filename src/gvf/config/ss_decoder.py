"""Sizes of the sparse structure decoder: latent grid to occupancy at a multiple of its resolution (TRELLIS)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT


@dataclass(frozen=True, config=STRICT)
class SsDecoderConfig:
    """Sizes of the sparse structure decoder."""

    latent_channels: PositiveInt
    """Channels of a cell of the latent grid."""
    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Channels of each level, coarse to fine; each level after the first doubles the resolution."""
    num_res_blocks: PositiveInt
    """Residual blocks per level."""
    num_middle_blocks: PositiveInt
    """Residual blocks before the first level."""
