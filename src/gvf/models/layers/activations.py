"""GELU and the gated GELU: by compiled kernels on CPUs, else by torch's operations."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gvf.compiled import kernels
from gvf.compiled.simd import LANES
from gvf.compiled.tensors import COMPILED_DTYPES, flat
from gvf.models.layers import activation_kernels
from gvf.models.layers.activation_kernels import SLAB


def gelu_tanh(x: Tensor) -> Tensor:
    """Apply GELU in its tanh approximation. x: any shape."""
    return _Gelu.apply(x) if _fits(x) else F.gelu(x, approximate="tanh")


def geglu(x: Tensor) -> Tensor:
    """Return the first half of the channels times the exact GELU of the second. x: [..., 2C]. Returns [..., C]."""
    if _fits(x) and x.shape[-1] % (2 * LANES) == 0:
        return _Geglu.apply(x)
    values, gates = x.chunk(2, dim=-1)
    return values * F.gelu(gates)


def _fits(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in COMPILED_DTYPES and x.numel() % LANES == 0 and x.is_contiguous()


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        out = torch.empty_like(x)
        kernels.run(activation_kernels.gelu_forward, -(-x.numel() // SLAB), 4, flat(x), flat(out))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gradient, out = gradient.to(x.dtype).contiguous(), torch.empty_like(x)
        kernels.run(activation_kernels.gelu_backward, -(-x.numel() // SLAB), 4, flat(x), flat(gradient), flat(out))
        return out


class _Geglu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        width = x.shape[-1] // 2
        out = x.new_empty(*x.shape[:-1], width)
        kernels.run(activation_kernels.geglu_forward, _items(out), 4, flat(x), width, flat(out))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gradient, out = gradient.to(x.dtype).contiguous(), torch.empty_like(x)
        width = gradient.shape[-1]
        kernels.run(activation_kernels.geglu_backward, _items(gradient), 4, flat(x), width, flat(gradient), flat(out))
        return out


def _items(rows: Tensor) -> int:
    width = rows.shape[-1]
    return -(-rows.numel() // (width * max(1, SLAB // width)))
