"""Peak signal-to-noise ratio, through torchmetrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gvf.metrics.absence import Absence
from gvf.metrics.metric import ImageMetric, ImagePairs, MaskedImageMetric

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


def psnr_object(pairs: ImagePairs) -> Tensor | Absence:
    """Return the PSNR in dB over the object's pixels alone, [P], at most `LARGEST_PSNR`.

    Both images are compared over white, onto which the ground truth is composited with straight alpha. The pixels that
    count are those where the ground truth's alpha is above zero, with equal weight, partly covered edges included;
    whatever the prediction shows elsewhere does not count. Frames that are resized first have their alpha resized by the
    same filter. The value range is that of `psnr`: `data_range`, or max - min over all pixels of the ground-truth image.
    An image without such a pixel has the value NaN; without alpha the metric is absent.
    """
    if pairs.foreground is None:
        return Absence(
            "psnr_object",
            "the ground truth has no alpha channel",
            "Save its frames as RGBA images with the object's mask as alpha",
        )
    mask = pairs.foreground[..., None]
    prediction, ground_truth = pairs.prediction.double(), pairs.ground_truth.double()
    errors = ((prediction - ground_truth).square() * mask).sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3)))
    if pairs.data_range is None:
        value_range = ground_truth.amax((1, 2, 3)) - ground_truth.amin((1, 2, 3))
    else:
        value_range = ground_truth.new_tensor(pairs.data_range)
    return (10.0 * (value_range.square() / errors).log10()).clamp(max=LARGEST_PSNR)


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
    MaskedImageMetric(
        name="psnr_object",
        title="PSNR (object)",
        unit="dB",
        definition="Peak signal-to-noise ratio over the pixels where the ground truth's alpha is above zero, at most "
        f"{LARGEST_PSNR:.0f} dB.",
        higher_is_better=True,
        format="{:.2f}",
        compute=psnr_object,
    ),
)
