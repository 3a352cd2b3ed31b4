"""Attention inside windows by the kernels of `window_attention_kernels` as a differentiable function of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gvf.compiled import kernels
from gvf.compiled.tensors import flat
from gvf.models.layers import window_attention_kernels
from gvf.models.layers.compiled_attention import readable
from gvf.models.layers.windows import Windows

_ITEMS_OF_A_THREAD = 4


def fits(qkv: Tensor, num_heads: int) -> bool:
    """Return whether the kernels compute this attention. qkv: [M, 3C], queries, keys and values of M tokens."""
    return len(qkv) > 0 and readable(qkv.unflatten(-1, (3, num_heads, -1)))


def attend_windows(qkv: Tensor, windows: Windows, num_heads: int) -> Tensor:
    """Compute softmax attention with scale D^-0.5 of every token to those of its window. qkv: [M, 3C]. Returns [M, C]."""
    return _WindowAttention.apply(qkv, windows.order, windows.starts, num_heads)


class _WindowAttention(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, qkv: Tensor, order: np.ndarray, starts: np.ndarray, num_heads: int
    ) -> Tensor:
        qkv = qkv.contiguous()
        ctx.save_for_backward(qkv)
        width = qkv.shape[1] // (3 * num_heads)
        ctx.layout = order, starts, (num_heads, width, int(np.diff(starts).max()))
        out = qkv.new_empty(len(qkv), num_heads * width)
        _run(window_attention_kernels.attend_windows_forward, qkv, ctx.layout, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (qkv,) = ctx.saved_tensors
        result = torch.empty_like(qkv)
        gradient = gradient.to(qkv.dtype).contiguous()
        _run(window_attention_kernels.attend_windows_backward, qkv, ctx.layout, gradient, result)
        return result, None, None, None


def _run(
    kernel: Any, qkv: Tensor, layout: tuple[np.ndarray, np.ndarray, tuple[int, int, int]], *others: Tensor
) -> None:
    order, starts, shape = layout
    items = (len(starts) - 1) * shape[0]
    kernels.run(kernel, items, _ITEMS_OF_A_THREAD, flat(qkv), order, starts, shape, *(flat(other) for other in others))
