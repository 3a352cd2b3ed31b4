"""Sampling of a rectified flow: `structure` and `latents` in the section `sample`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT

_Time = Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True, config=STRICT)
class FlowSamplingConfig:
    """Steps and guidance of the Euler sampler."""

    num_steps: Annotated[int, Field(ge=1, le=10_000)]
    """Steps from noise to data."""
    guidance: Annotated[float, Field(ge=0.0, le=100.0)]
    """Scale s of classifier-free guidance, (1 + s) conditional - s unconditional; 0 for none."""
    guided_from: _Time
    """First time, 0 being data, from which on guidance acts."""
    guided_to: _Time
    """Last time, 1 being noise, at which guidance acts."""
    rescale: Annotated[float, Field(gt=0.0, le=1000.0)]
    """Above 1, more of the steps are at the noisy end."""
