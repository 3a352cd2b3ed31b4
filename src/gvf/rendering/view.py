"""What is the same for all images of one rasterising call."""

from __future__ import annotations

from typing import NamedTuple


class View(NamedTuple):
    """width, height in pixels; near, far in object units; low_pass in pixels^2, whose area `compensate` takes back."""

    width: int
    height: int
    near: float
    far: float
    low_pass: float
    compensate: bool
