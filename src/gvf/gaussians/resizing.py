"""Gaussians in another unit and place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gvf.gaussians.gaussians import Gaussians


def resized(gaussians: Gaussians, scale: float, offset: Sequence[float]) -> Gaussians:
    """Return Gaussians [..., N], scaled about the origin and then moved by `offset`, three coordinates."""
    return replace(
        gaussians,
        means=gaussians.means * scale + gaussians.means.new_tensor(offset),
        raw_scales=gaussians.activation.raw_scales(gaussians.scales * scale),
    )
