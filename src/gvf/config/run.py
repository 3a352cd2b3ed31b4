"""Section `run`: what every stage's results depend on."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT


@dataclass(frozen=True, config=STRICT)
class RunConfig:
    """What every stage's results depend on."""

    preset: str
    """Name of the preset that the values come from."""
    seed: NonNegativeInt
    """The one random seed of the whole pipeline."""
    device: Literal["auto", "cpu", "cuda"]
    """Where networks run; `auto` uses CUDA if it is available."""
