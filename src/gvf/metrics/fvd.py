"""Frechet video distance: Gaussians fitted to I3D features of two sets of videos (Unterthiner et al. 2018).

The network is the TorchScript I3D (Kinetics-400 logits) that StyleGAN-V distributes; videos are resized to 224 x 224
(bilinear) and scaled to [-1, 1] here, so that the script's own resizing stays off.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gvf.errors import UserError
from gvf.metrics.absence import Absence
from gvf.published_files import I3D

SMALLEST_NUM_FRAMES = 10  # the network's temporal pooling leaves nothing of shorter videos
_SIZE = 224

MISSING = Absence(
    "fvd",
    f"{I3D.path} (I3D, Kinetics-400) is not on this machine",
    f"Run `gvf weights pull fvd`, or put StyleGAN-V's {I3D.path} into the folder that GVF_WEIGHTS names.",
)


def absence() -> Absence | None:
    """Why FVD cannot be measured here, or None when the network is there."""
    return None if I3D.find() else MISSING


def fvd(prediction: Tensor, truth: Tensor) -> float | Absence:
    """FVD of two sets of videos, lower is nearer. prediction, truth: [S, T, H, W, 3] in [0, 1], S >= 2.

    Returns a number, or why there is none.
    """
    path = I3D.find()
    if path is None:
        return MISSING
    if len(prediction) < 2 or len(truth) < 2:
        return Absence("fvd", "a covariance needs at least two videos", "Evaluate more clips or views.")
    if min(prediction.shape[1], truth.shape[1]) < SMALLEST_NUM_FRAMES:
        return Absence("fvd", f"I3D needs {SMALLEST_NUM_FRAMES} frames or more", "Use a preset with longer clips.")
    network = _network(path, prediction.device)
    return frechet_distance(_features(network, prediction), _features(network, truth))


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of two sets of features [S, D], in float64.

    The trace of the root comes from singular values of the product of centred features, exact also when D > S.
    """
    one, other = one.double(), other.double()
    centred = [(features - features.mean(0)) / (len(features) - 1) ** 0.5 for features in (one, other)]
    spread = centred[0].square().sum() + centred[1].square().sum()
    # Eigenvalues of C1 C2 are the squared singular values of X1 X2^T, with C = X^T X.
    root = torch.linalg.svdvals(centred[0] @ centred[1].T).sum()
    return float((one.mean(0) - other.mean(0)).square().sum() + spread - 2 * root)


def _features(network: Any, videos: Tensor) -> Tensor:
    parts = []
    with torch.no_grad():
        for video in videos:
            frames = F.interpolate(video.float().movedim(-1, 1), (_SIZE, _SIZE), mode="bilinear", align_corners=False)
            batch = (2 * frames - 1).movedim(1, 0)[None]
            parts.append(network(batch, rescale=False, resize=False, return_features=True))
    return torch.cat(parts)


@cache
def _network(path: Path, device: torch.device) -> Any:
    try:
        return torch.jit.load(path, map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{path}: not a TorchScript network ({str(error).partition(chr(10))[0]}).") from None
