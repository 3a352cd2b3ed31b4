"""Peak signal-to-noise ratio, through torchmetrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gvf.metrics.metric import ImageMetric, ImagePairs

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_PSNR = 100.0  # dB; the value of an image that equals the ground truth, where the formula says infinity


def psnr(prediction: Tensor, ground_truth: Tensor, data_range: float | None = 1.0) -> Tensor:
    """Return the PSNR in dB of each image, [P]; infinite for equal images.

    prediction, ground_truth: [P, H, W, 3], P >= 1. data_range: None takes max - min of each ground-truth image, as
    torchmetrics did when none was given; a ground-truth image of one colour then has no PSNR (-inf or NaN).
    """
    import torch
    from torchmetrics.functional.image import peak_signal_noise_ratio

    one, other = prediction.float(), ground_truth.float()
    if data_range is not None:
        return peak_signal_noise_ratio(one, other, data_range=data_range, reduction="none", dim=(1, 2, 3))
    ranges = (other.amax((1, 2, 3)) - other.amin((1, 2, 3))).tolist()
    return torch.stack([peak_signal_noise_ratio(*pair, data_range=own) for *pair, own in zip(one, other, ranges)])


def capped_psnr(pairs: ImagePairs) -> Tensor:
    """Return the PSNR in dB of each image pair, at most `LARGEST_PSNR`, [P]."""
    return psnr(pairs.prediction, pairs.ground_truth, pairs.data_range).clamp(max=LARGEST_PSNR)


METRICS = (
    ImageMetric(
        name="psnr",
        title="PSNR",
        unit="dB",
        definition=f"Peak signal-to-noise ratio over all pixels, at most {LARGEST_PSNR:.0f} dB.",
        higher_is_better=True,
        format="{:.2f}",
        compute=capped_psnr,
    ),
)
