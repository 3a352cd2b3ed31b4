"""The perceptual term of the alignment's loss (A.2, as released): 0.2 (1 - cosine of CLIP's image features)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import Array
from gvf.metrics.absence import Absence
from gvf.metrics.clip import absence, clip_similarity
from gvf.pipelines.alignment_views import Poses, draw

_WEIGHT = 0.2


def require_features() -> None:
    """Check that CLIP's weights are on this machine. Raises UserError that says what to do if they are not."""
    if (missing := absence()) is not None:
        raise UserError(f"align: features: {missing.explanation}")


def feature_losses(gaussians: Gaussians, target: Tensor, poses: Array) -> Array:
    """Return what unlike features add to the losses of poses [S, 6] of the target's canvas [P, P, 4], [S]."""
    images = _on_white(draw(gaussians, Poses(poses), target.shape[0]))
    found = clip_similarity(images, _on_white(target).expand_as(images))
    if isinstance(found, Absence):
        raise UserError(f"align: features: {found.explanation}")
    return _WEIGHT * (1.0 - found.double().cpu().numpy().astype(np.float64))


def _on_white(images: Tensor) -> Tensor:
    return (images[..., :3] + 1.0 - images[..., 3:]).clamp(0.0, 1.0)
