"""Padding: clips have different numbers of Gaussians, and a batch needs one number for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gvf.gaussians.gaussians import Gaussians

_INVISIBLE = -40.0  # raw opacity of padding: its opacity is far below what any renderer draws


def pad(items: Sequence[Gaussians]) -> tuple[Gaussians, Tensor]:
    """Stack clips of N_b Gaussians into [B, N, ...], where N is the largest; padding sits at the origin and is invisible.

    Returns the batch and `valid` [B, N], false for padding.
    """
    longest = max(item.num_gaussians for item in items)
    first = items[0]
    batch: dict[str, Any] = {}
    for name in (field.name for field in fields(first) if field.name != "activation"):
        fill = _INVISIBLE if name == "raw_opacities" else 0.0
        rows = []
        for item in items:
            value = getattr(item, name)
            missing = longest - item.num_gaussians
            rows.append(F.pad(value, (*(0, 0) * (value.dim() - 1), 0, missing), value=fill))
        batch[name] = torch.stack(rows)
    counts = torch.tensor([item.num_gaussians for item in items], device=first.means.device)
    valid = torch.arange(longest, device=first.means.device) < counts[:, None]
    return replace(first, **batch), valid
