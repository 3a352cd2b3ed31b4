"""How each image encoder prepares its images: facts that a trained generator records and demands when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Preprocessing(NamedTuple):
    """size: images are resized to this many pixels per side; None if their own size is kept.

    central_share: part of each side of a video frame that is kept around its centre. mean, std: per channel, of RGB in
    [0, 1] after compositing on black, the background of conditioning frames.
    """

    size: int | None
    central_share: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


PREPROCESSING: Mapping[str, Preprocessing] = {
    "efficientnet_lite0": Preprocessing(None, 0.75, (127 / 255,) * 3, (128 / 255,) * 3),
    "dinov2": Preprocessing(518, 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # ImageNet
}
