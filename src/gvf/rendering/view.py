"""What is the same for all images of one rasterising call."""

from __future__ import annotations

from typing import NamedTuple


class View(NamedTuple):
    """width, height: pixels. near, far: camera z, object units. low_pass: pixels^2. compensate: lower opacities by it."""

    width: int
    height: int
    near: float
    far: float
    low_pass: float
    compensate: bool
