"""Peak signal-to-noise ratio, through torchmetrics."""

from __future__ import annotations

import torch
from torch import Tensor


def psnr(prediction: Tensor, truth: Tensor, data_range: float | None = 1.0) -> Tensor:
    """PSNR in dB of each picture, inf if equal. prediction, truth: [P, H, W, 3], P >= 1.

    data_range: None takes max - min of each true picture, as torchmetrics did when none was given; a true picture of one
    colour then has no PSNR (-inf or NaN). Returns [P].
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    one, other = prediction.float(), truth.float()
    if data_range is not None:
        return peak_signal_noise_ratio(one, other, data_range=data_range, reduction="none", dim=(1, 2, 3))
    ranges = (other.amax((1, 2, 3)) - other.amin((1, 2, 3))).tolist()
    return torch.stack([peak_signal_noise_ratio(*pair, data_range=own) for *pair, own in zip(one, other, ranges)])
