"""Rotated Gaussians, and the freedom in describing the orientation of one: its axes may be swapped and reversed."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache

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


def with_smallest_rotations(gaussians: Gaussians) -> Gaussians:
    """Return the same Gaussians [..., N], each described by the smallest rotation that its axes allow, at most 63 degrees.

    Networks know Gaussians as their decoder makes them, with quaternions near (1, 0, 0, 0); an object that was turned by 180
    degrees would have none of these. Yet every Gaussian has 24 descriptions, whose axes are swapped or reversed.
    """
    symmetries, order = (values.to(gaussians.means.device) for values in _symmetries())
    quats = gaussians.quats
    conjugated = symmetries * symmetries.new_tensor([1.0, -1.0, -1.0, -1.0])
    chosen = (quats @ conjugated.T).abs().argmax(-1)  # by |w| of the products with the symmetries
    turned = multiplied(quats, symmetries[chosen])
    turned = torch.where(turned[..., :1] < 0.0, -turned, turned)
    return replace(
        gaussians,
        raw_scales=gaussians.raw_scales.gather(-1, order[chosen]),
        raw_quats=gaussians.activation.raw_quats(turned),
    )


def multiplied(one: Tensor, other: Tensor) -> Tensor:
    """Return the products of quaternions [..., 4] wxyz: the rotation `other`, then `one`."""
    w, x, y, z = one.unbind(-1)
    a, b, c, d = other.unbind(-1)
    parts = (
        w * a - x * b - y * c - z * d,
        w * b + x * a + y * d - z * c,
        w * c - x * d + y * a + z * b,
        w * d + x * c - y * b + z * a,
    )
    return torch.stack(parts, dim=-1)


@cache
def _symmetries() -> tuple[Tensor, Tensor]:
    """Return the rotations [24, 4] of a cube, the identity first, and which axis [24, 3] becomes x, y and z in each."""
    found: list[tuple[float, ...]] = [(1.0, 0.0, 0.0, 0.0)]
    for parts in itertools.product((0.0, 1.0, -1.0), repeat=4):
        first = next((part for part in parts if part), 0.0)
        if sum(map(abs, parts)) in (1.0, 2.0, 4.0) and first > 0.0 and parts != found[0]:
            found.append(parts)
    quats = torch.nn.functional.normalize(torch.tensor(found), dim=-1)
    axes = torch.cat([torch.zeros(24, 3, 1), torch.eye(3).expand(24, 3, 3)], dim=-1)  # pure quaternions
    conjugated = quats * torch.tensor([1.0, -1.0, -1.0, -1.0])
    turned = multiplied(multiplied(quats[:, None].expand(24, 3, 4), axes), conjugated[:, None].expand(24, 3, 4))
    return quats, turned[..., 1:].abs().argmax(-1)
