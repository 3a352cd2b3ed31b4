"""LPIPS as a metric, on VGG16 and on AlexNet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gvf.metrics import lpips_network
from gvf.metrics.absence import Absence
from gvf.metrics.metric import ImageMetric, RequiredWeights

if TYPE_CHECKING:
    from torch import Tensor

_BATCH = 16  # features of many large images would fill the memory


def lpips(prediction: Tensor, ground_truth: Tensor, net: str = "vgg") -> Tensor | Absence:
    """Return the LPIPS of each image, [P], or why there is none; lower is better.

    prediction, ground_truth: [P, H, W, 3] in [0, 1]. net: one of `lpips_network.BACKBONES`.
    """
    import torch

    if (gap := lpips_network.absence(net)) is not None:
        return gap
    if not len(prediction):
        return prediction.new_zeros(0)
    with torch.no_grad():
        pairs = zip(prediction.split(_BATCH), ground_truth.split(_BATCH))
        return torch.cat([lpips_network.lpips_distance(*pair, net) for pair in pairs])


def _weights(net: str) -> RequiredWeights:
    return RequiredWeights(
        partial(lpips_network.find_weights, net),
        partial(lpips_network.absence, net),
        partial(lpips_network.require_weights, net),
    )


METRICS = (
    ImageMetric(
        name="lpips",
        title="LPIPS",
        definition="Learned perceptual distance on features of VGG16.",
        higher_is_better=False,
        format="{:.3f}",
        weights=_weights("vgg"),
        compute=lambda pairs: lpips(*pairs.unit, "vgg"),
    ),
    ImageMetric(
        name="lpips_alex",
        title="LPIPS (AlexNet)",
        definition="Learned perceptual distance on features of AlexNet.",
        higher_is_better=False,
        format="{:.3f}",
        weights=_weights("alex"),
        compute=lambda pairs: lpips(*pairs.unit, "alex"),
    ),
)
