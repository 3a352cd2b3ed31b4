"""Sizes of the sparse structure flow: an image to the latent of an occupancy grid (TRELLIS)."""

from __future__ import annotations

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT
from gvf.config.flow_transformer import FlowTransformerConfig


@dataclass(frozen=True, config=STRICT)
class SsFlowConfig(FlowTransformerConfig):
    """Sizes of the sparse structure flow."""

    resolution: PositiveInt
    """Cells along each side of the latent grid."""
