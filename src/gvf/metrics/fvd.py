"""Frechet video distance between two sets of videos, by I3D's Kinetics-400 logits (Unterthiner et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gvf.errors import UserError
from gvf.metrics.absence import Absence
from gvf.metrics.metric import RequiredWeights, VideoSetMetric
from gvf.storage.published_files import I3D_KINETICS

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from gvf.metrics.i3d import I3D

_SIDE = 224

MISSING = Absence(
    "fvd",
    f"{I3D_KINETICS.name} (I3D, Kinetics-400) is not on this machine",
    f"Run `gvf weights pull fvd`, or put {I3D_KINETICS.name} (release v1.0.0 of github.com/bytedance/pv3d has it too) into "
    "the folder that GVF_WEIGHTS names.",
)


def find_weights() -> Path | None:
    """Return I3D's file on this machine, or None."""
    return I3D_KINETICS.find()


def absence() -> Absence | None:
    """Return why FVD cannot be measured on this machine, or None when the network is present."""
    return None if find_weights() else MISSING


def require_weights() -> None:
    """Check that the network loads. Raises UserError when its file is present but damaged, or is another network's."""
    import torch

    if (path := find_weights()) is not None:
        _network(path, torch.device("cpu"))


def fvd(prediction: Tensor, ground_truth: Tensor) -> float | Absence:
    """Return the FVD of two sets of videos, all of them pooled, or why there is none; lower is better.

    prediction, ground_truth: features of the videos, [..., D].
    """
    one, other = prediction.flatten(0, -2), ground_truth.flatten(0, -2)
    if len(one) < 2 or len(other) < 2:
        return Absence("fvd", "a covariance needs at least two videos", "Score more clips or views.")
    return frechet_distance(one, other)


def video_logits(frames: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Return I3D's logits of one video, averaged over time: [400] on the CPU.

    frames: T of [H, W, 3] from 0 to 255; `network_frame` prepares them for the network. Raises UserError when the weights
    are missing or are not I3D's.
    """
    import numpy as np
    import torch

    path = find_weights()
    if path is None:
        raise UserError(str(MISSING))
    video = torch.from_numpy(np.stack([network_frame(frame) for frame in frames], axis=1))[None]
    with torch.no_grad():
        return _network(path, device)(video.to(device))[0].cpu()


def network_frame(frame: np.ndarray) -> np.ndarray:
    """Return a frame [H, W, 3] from 0 to 255 as I3D takes it: float32 [3, 224, 224], 0 to 255 scaled to -1 to 1.

    Each channel is resized by PIL's bicubic filter in float32, as Consistent4D's script does.
    """
    import numpy as np
    from PIL import Image

    channels = [Image.fromarray(channel) for channel in np.moveaxis(frame.astype(np.float32), -1, 0)]
    small = [np.asarray(channel.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)) for channel in channels]
    return np.stack(small) / 127.5 - 1.0


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of two sets of features [S, D], S >= 2, in float64.

    The trace of the root comes from singular values of the product of centred features, exact also when D > S.
    """
    import torch

    one, other = one.double(), other.double()
    centred = [(features - features.mean(0)) / (len(features) - 1) ** 0.5 for features in (one, other)]
    spread = centred[0].square().sum() + centred[1].square().sum()
    # Eigenvalues of C1 C2 are the squared singular values of X1 X2^T, with C = X^T X.
    root = torch.linalg.svdvals(centred[0] @ centred[1].T).sum()
    return float((one.mean(0) - other.mean(0)).square().sum() + spread - 2 * root)


def single_video_distance(one: Tensor, other: Tensor) -> Tensor:
    """Return |f1 - f2|^2 + (s1 - s2)^2, with s the deviation (ddof 1) over the D features of a vector.

    one, other: [..., D]; returns [...]. Consistent4D's script computes this from one video on each side: NumPy's
    covariance of a single sample takes its features for samples of one variable, so the matrices are numbers, s1^2 and
    s2^2.
    """
    one, other = one.double(), other.double()
    return (one - other).square().sum(-1) + (one.std(-1) - other.std(-1)).square()


@cache
def _network(path: Path, device: torch.device) -> I3D:
    from gvf.metrics.i3d import load_i3d

    return load_i3d(path, device)


FVD = VideoSetMetric(
    name="fvd",
    title="FVD",
    definition="Frechet distance between the I3D features of all predicted and of all ground-truth videos.",
    higher_is_better=False,
    format="{:.2f}",
    weights=RequiredWeights(find_weights, absence, require_weights),
    features=video_logits,
    distance=fvd,
)
METRICS = (FVD,)
