"""Batches of clips at their canonical frame, for both trainings of the autoencoders."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gvf.data.clips import load_features, load_views, on_white, pick_views
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.workspace import Workspace


@dataclass(frozen=True)
class CanonicalBatch:
    """Voxels, their features and some views of B clips.

    features: [M, F] of all voxels. target: [B, V, H, W, 3] on white. viewmats, Ks: [B, V, ...].
    """

    voxels: VoxelBatch
    features: Tensor
    target: Tensor
    viewmats: Tensor
    Ks: Tensor


def load_canonical(
    workspace: Workspace, clips: list[str], num_views: int, generator: torch.Generator
) -> CanonicalBatch:
    """Load voxels and features of clips, with canonical views drawn at random for each of them."""
    features = [load_features(workspace, clip) for clip in clips]
    views = [pick_views(load_views(workspace, clip, "canonical"), num_views, generator) for clip in clips]
    return CanonicalBatch(
        VoxelBatch.pack([item["voxels"] for item in features]),
        torch.cat([item["voxel_features"].float() for item in features]),
        torch.stack([on_white(view.rgba) for view in views]),
        torch.stack([view.viewmats for view in views]),
        torch.stack([view.Ks for view in views]),
    )
