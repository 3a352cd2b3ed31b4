"""Data of a clip's first frame that both VAE phases read: voxels, their image features, and rendered views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gvf.data.clips import Views, on_white, pick_views
from gvf.models.layers.voxel_batch import VoxelBatch

ReadFeatures = Callable[[str], Mapping[str, Tensor]]
"""Takes a clip's id; returns its voxels, voxel features and video tokens, as `gvf.data.clips.load_features` does."""

ReadViews = Callable[[str, str], Views]
"""Takes a clip's id and a kind of views; returns them, as `gvf.data.clips.load_views` does."""


@dataclass(frozen=True)
class CanonicalBatch:
    """The canonical frames of B clips.

    features: [M, F], of all voxels of the clips. target: [B, V, H, W, 3] on white. viewmats, Ks: [B, V, ...].
    """

    voxels: VoxelBatch
    features: Tensor
    target: Tensor
    viewmats: Tensor
    Ks: Tensor


def load_canonical(
    clips: Sequence[str],
    read_features: ReadFeatures,
    read_views: ReadViews,
    num_views: int,
    generator: torch.Generator,
) -> CanonicalBatch:
    """Load voxels, features and `num_views` canonical views of each clip, drawn at random."""
    features = [read_features(clip) for clip in clips]
    views = [pick_views(read_views(clip, "canonical"), num_views, generator) for clip in clips]
    return CanonicalBatch(
        VoxelBatch.pack([item["voxels"] for item in features]),
        torch.cat([item["voxel_features"].float() for item in features]),
        torch.stack([on_white(view.rgba) for view in views]),
        torch.stack([view.viewmats for view in views]),
        torch.stack([view.Ks for view in views]),
    )
