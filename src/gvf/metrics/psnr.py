"""Peak signal-to-noise ratio, through torchmetrics."""

from __future__ import annotations

from torch import Tensor


def psnr(prediction: Tensor, truth: Tensor) -> Tensor:
    """PSNR in dB of each picture, data range 1, inf if equal. prediction, truth: [P, H, W, 3]. Returns [P]."""
    from torchmetrics.functional.image import peak_signal_noise_ratio

    return peak_signal_noise_ratio(prediction.float(), truth.float(), data_range=1.0, reduction="none", dim=(1, 2, 3))
