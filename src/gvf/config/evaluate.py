"""Section `evaluate`: what is measured on held-out clips."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, OneOf, clash
from gvf.metrics.table import METRICS

# The schema's files name no metrics, so that adding one changes no file but its own.
Metric = Annotated[str, OneOf(tuple(METRICS)), WithJsonSchema({"type": "string"})]


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
