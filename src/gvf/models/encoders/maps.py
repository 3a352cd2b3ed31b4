"""The feature maps of an image encoder."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Maps(NamedTuple):
    """Feature maps that cover all of an image.

    voxel: [B, voxel_dim, h, w], those that are read on voxels. compared: maps [B, C, h, w] of several sizes, by which places in
    different frames are compared.
    """

    voxel: Tensor
    compared: tuple[Tensor, ...]
