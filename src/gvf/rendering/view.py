"""What one call of the rasteriser draws, and how: the arguments of both backends."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

ZERO_QUATERNION = "quats: a quaternion of length zero"
FOCAL_LENGTH = "Ks: a focal length that is not positive"


class Scene(NamedTuple):
    """B scenes of N Gaussians, each seen by C cameras: float32 tensors of one device, shapes checked.

    means [B, N, 3], quats [B, N, 4] wxyz, scales [B, N, 3], opacities [B, N], colors [B, N, 3], viewmats [B, C, 4, 4],
    Ks [B, C, 3, 3] normalised by image size, background [3].
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    viewmats: Tensor
    Ks: Tensor
    background: Tensor


class View(NamedTuple):
    """width, height in pixels; near, far in object units; low_pass in pixels^2, whose area `compensate` takes back."""

    width: int
    height: int
    near: float
    far: float
    low_pass: float
    compensate: bool
