"""Canonical Gaussians of a mesh from its features, and the autoencoder's reconstruction of a known motion (A.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.variation.joint_vae import Canonical, JointVAE, Motion


@torch.no_grad()
def canonical_from_features(vae: JointVAE, features: Tensor, voxels: Tensor) -> Canonical:
    """Return G_1 of one clip from the features [M, F] of its active voxels [M, 3]."""
    return vae.canonical(features.float(), VoxelBatch.pack([voxels]))


@torch.no_grad()
def known_motion(vae: JointVAE, canonical: Canonical, points: Tensor) -> Motion:
    """Return how the mesh moves the Gaussians of one clip (Eq. 4). points: [T, N, 3], the canonical frame first."""
    return vae.motion(canonical, torch.cat([points[:1], points]).unsqueeze(0))


@torch.no_grad()
def reconstruct(vae: JointVAE, canonical: Canonical, motion: Motion) -> Tensor:
    """Return the autoencoder's reconstruction of the known motion of one clip: its variation field [T, G, 14]."""
    return vae.decode(canonical, vae.encode(canonical, motion).mean)[0]
