"""Section `evaluate`: what is measured on held-out clips."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import one_of

PICTURE_METRICS = ("psnr", "ssim", "ssim_cropped", "lpips", "clip")
SET_METRICS = ("fvd",)
GEOMETRY_METRICS = ("chamfer",)


@dataclass(frozen=True)
class EvaluateConfig:
    """metrics: columns of the tables, `psnr` among them; a metric whose weights are missing reads n/a, with the reason.

    `ssim` counts all pixels; `ssim_cropped` leaves out a border of 5 pixels, as most published values do.
    """

    metrics: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.metrics:
            one_of("evaluate.metrics", name, (*PICTURE_METRICS, *SET_METRICS, *GEOMETRY_METRICS))
        if "psnr" not in self.metrics:
            one_of("evaluate.metrics", ", ".join(self.metrics), ("a list with psnr",))
