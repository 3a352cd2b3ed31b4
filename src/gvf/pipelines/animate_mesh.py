"""Canonical Gaussians of a mesh from its features, and the autoencoder's reconstruction of a known motion (A.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.variation.joint_vae import Canonical, JointVAE


@torch.no_grad()
def canonical_from_features(vae: JointVAE, features: Tensor, voxels: Tensor) -> Canonical:
    """Return G_1 of one clip from the features [M, F] of its active voxels [M, 3]."""
    return vae.canonical(features.float(), VoxelBatch.pack([voxels]))


@torch.no_grad()
def reconstruct(vae: JointVAE, canonical: Canonical, points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the autoencoder's reconstruction of a known motion: points [T, N, 3] of one clip, the canonical frame first.

    The results are the variation field [T, G, 14] and the interpolated displacements [T, G, 3] of the Gaussians (Eq. 4).
    """
    motion = vae.motion(canonical, torch.cat([points[:1], points]).unsqueeze(0))
    posterior = vae.encode(canonical, motion)
    return vae.decode(canonical, posterior.mean)[0], motion.interpolated[0]
