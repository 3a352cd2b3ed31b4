"""Structural similarity, through torchmetrics: the metric of the tables (the loss pads differently)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gvf.metrics.metric import ImageMetric, ImagePairs

if TYPE_CHECKING:
    from torch import Tensor

BORDER = 5  # pixels on each side where the window of 11 reaches beyond the image
_PIXELS = 1 << 20  # of the images that are compared at once


def ssim(prediction: Tensor, ground_truth: Tensor, data_range: float | None = 1.0) -> Tensor:
    """Compute the SSIM of each image: Gaussian window of 11 pixels, sigma 1.5, reflected borders, mean over all pixels.

    prediction, ground_truth: [P, H, W, 3], P >= 1, at least 6 x 6. data_range: None takes the larger of the two images'
    own max - min, as torchmetrics does; for two images that are both constant the result is then NaN. Returns [P].
    """
    return ssim_and_cropped(prediction, ground_truth, data_range)[0]


def ssim_cropped(prediction: Tensor, ground_truth: Tensor, data_range: float | None = 1.0) -> Tensor:
    """Compute the SSIM of each image without a border of 5 pixels: only windows that lie within the image count.

    scikit-image does the same, as did torchmetrics up to 1.4.1, with which most published values were measured; since
    1.4.2 (September 2024) torchmetrics counts all pixels. Arguments as in `ssim`, images of at least 11 x 11. Returns [P].
    """
    return ssim_and_cropped(prediction, ground_truth, data_range)[1]


def ssim_and_cropped(prediction: Tensor, ground_truth: Tensor, data_range: float | None = 1.0) -> tuple[Tensor, Tensor]:
    """Compute `ssim` and `ssim_cropped` at the cost of one of them."""
    import torch

    count = max(1, _PIXELS // (ground_truth.shape[1] * ground_truth.shape[2]))
    pairs = zip(prediction.float().split(count), ground_truth.float().split(count))
    whole, cropped = zip(*(_compare(*pair, data_range) for pair in pairs))
    return torch.cat(whole), torch.cat(cropped)


def _compare(one: Tensor, other: Tensor, data_range: float | None) -> tuple[Tensor, Tensor]:
    """Compute both for a few images as channels of one, which is three times faster than image by image."""
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    # SSIM does not change when images and their range are divided by the same number.
    scale = data_range if data_range is not None else torch.maximum(_own_range(one), _own_range(other))
    stacked = [(images / scale).permute(1, 2, 0, 3).flatten(2).permute(2, 0, 1)[None] for images in (one, other)]
    _, similarity = structural_similarity_index_measure(
        *stacked, gaussian_kernel=True, sigma=1.5, kernel_size=11, data_range=1.0, return_full_image=True
    )
    maps = similarity[0].unflatten(0, (len(one), -1))
    inner = maps[..., BORDER:-BORDER, BORDER:-BORDER]
    return maps.mean((1, 2, 3)), inner.mean((1, 2, 3))


def _own_range(images: Tensor) -> Tensor:
    return (images.amax((1, 2, 3)) - images.amin((1, 2, 3))).view(-1, 1, 1, 1)


def _both(pairs: ImagePairs) -> tuple[Tensor, Tensor]:
    return ssim_and_cropped(pairs.prediction, pairs.ground_truth, pairs.data_range)


METRICS = (
    ImageMetric(
        name="ssim",
        title="SSIM",
        definition="Structural similarity over all pixels, as torchmetrics has computed it since release 1.4.2 "
        "(September 2024).",
        higher_is_better=True,
        format="{:.3f}",
        compute=lambda pairs: pairs.shared("ssim", _both)[0],
    ),
    ImageMetric(
        name="ssim_cropped",
        title="SSIM without border",
        definition=f"Structural similarity without {BORDER} pixels on each side, as torchmetrics computed it before "
        "release 1.4.2 and most published values were measured.",
        higher_is_better=True,
        format="{:.3f}",
        compute=lambda pairs: pairs.shared("ssim", _both)[1],
    ),
)
