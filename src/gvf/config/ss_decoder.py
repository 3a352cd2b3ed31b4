"""Sizes of the sparse structure decoder: latent grid to occupancy at a multiple of its resolution (TRELLIS)."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least
from gvf.errors import ConfigError


@dataclass(frozen=True)
class SsDecoderConfig:
    """latent_channels: of a cell of the latent grid. channels: of each level, coarse to fine; each level after the
    first doubles the resolution. num_res_blocks: residual blocks of a level; num_middle_blocks: those before the first.
    """

    latent_channels: int
    channels: tuple[int, ...]
    num_res_blocks: int
    num_middle_blocks: int

    def __post_init__(self) -> None:
        for name in ("latent_channels", "num_res_blocks", "num_middle_blocks"):
            at_least(f"ss_decoder.{name}", getattr(self, name), 1)
        if not self.channels:
            raise ConfigError("ss_decoder.channels", "is empty, needs one number a level.")
        for channels in self.channels:
            at_least("ss_decoder.channels", channels, 1)
