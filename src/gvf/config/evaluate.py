"""Section `evaluate`: what is measured on held-out clips."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, OneOf, clash

PICTURE_METRICS = ("psnr", "ssim", "ssim_cropped", "lpips", "clip")
SET_METRICS = ("fvd",)
GEOMETRY_METRICS = ("chamfer",)
Metric = Annotated[str, OneOf((*PICTURE_METRICS, *SET_METRICS, *GEOMETRY_METRICS))]


@dataclass(frozen=True, config=STRICT)
class EvaluateConfig:
    """What is measured on held-out clips."""

    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)]
    """Columns of the tables, `psnr` among them; a metric whose weights are missing reads n/a, with the reason. `ssim`
    uses all pixels; `ssim_cropped` leaves out a border of 5 pixels, as most published values do."""

    @model_validator(mode="after")
    def _has_psnr(self) -> EvaluateConfig:
        if "psnr" not in self.metrics:
            raise clash(
                "metrics", f"is {', '.join(self.metrics)}, but must contain psnr, which the report ranks clips by."
            )
        return self
