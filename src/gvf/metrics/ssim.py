"""Structural similarity, through torchmetrics: the metric of the tables (the loss pads differently)."""

from __future__ import annotations

from torch import Tensor


def ssim(prediction: Tensor, truth: Tensor) -> Tensor:
    """SSIM of each picture: Gaussian window of 11 pixels, sigma 1.5, data range 1, mirrored borders.

    prediction, truth: [P, H, W, 3] in [0, 1], at least 6 x 6. Returns [P].
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    value = structural_similarity_index_measure(
        prediction.float().movedim(-1, 1),
        truth.float().movedim(-1, 1),
        gaussian_kernel=True,
        sigma=1.5,
        kernel_size=11,
        reduction="none",
        data_range=1.0,
    )
    assert isinstance(value, Tensor)
    return value
