"""How near results in float32 and bfloat16 come to those in double precision."""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCES = {torch.float32: 2e-6, torch.bfloat16: 8e-3}
"""By dtype of a result: the largest difference over the largest value; a bfloat16 has eight digits, half a unit is 2e-3."""


def assert_near(result: Tensor, exact: Tensor) -> None:
    """Assert that a result is as near to the exact one as its number format allows."""
    assert result.shape == exact.shape
    error = (result.double() - exact).abs().max() / exact.abs().max().clamp_min(1e-30)
    assert error.item() <= TOLERANCES[result.dtype], error.item()
