"""Rotating Gaussians about the vertical axis: positions and orientations."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from gvf.gaussians.gaussians import Gaussians


def rotated_about_z(gaussians: Gaussians, degrees: float) -> Gaussians:
    """Return Gaussians [..., N] turned about the z axis, counter-clockwise seen from above.

    A camera at azimuth a + degrees sees the result as a camera at azimuth a sees the input. The length of raw quaternions is
    kept, so that adding a variation before or after the rotation means the same.
    """
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    x, y, z = gaussians.means.unbind(-1)
    identity = gaussians.raw_quats.new_tensor([1.0, 0.0, 0.0, 0.0])
    turned = turned_about_z(gaussians.raw_quats + identity, degrees)
    return replace(
        gaussians,
        means=torch.stack([cos * x - sin * y, sin * x + cos * y, z], dim=-1),
        raw_quats=turned - identity,
    )


def turned_about_z(quats: Tensor, degrees: float) -> Tensor:
    """Return quaternions [..., 4] wxyz after a rotation about the z axis: their product with that rotation's quaternion."""
    half = math.radians(degrees) / 2.0
    cos, sin = math.cos(half), math.sin(half)
    w, x, y, z = quats.unbind(-1)
    return torch.stack([cos * w - sin * z, cos * x - sin * y, cos * y + sin * x, cos * z + sin * w], dim=-1)
