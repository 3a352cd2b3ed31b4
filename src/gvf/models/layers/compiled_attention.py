"""Attention by the kernels of `attention_kernels` as differentiable functions of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gvf.compiled import kernels
from gvf.compiled.simd import LANES
from gvf.compiled.tensors import COMPILED_DTYPES, flat
from gvf.models.layers import attention_kernels

MOST_KEYS = 32  # with more, torch's kernels are as fast
MOST_NORMALIZED = 256  # the same where queries and keys are normalised first
MOST_WIDTH = 64  # channels of a head
_ITEMS_OF_A_THREAD = 16
_NO_GAINS = np.zeros(0, np.float32)


def fits(queries: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Return whether the kernels compute this attention, and faster than torch. queries: [B, H, N, D], as `attend` takes."""
    parts = (queries, keys, values)
    return (
        all(readable(part) for part in parts)
        and queries.dtype == keys.dtype == values.dtype
        and 0 < keys.shape[2] <= MOST_KEYS
    )


def fits_packed(qkv: Tensor, num_heads: int) -> bool:
    """Return whether the kernels compute the attention of normalised heads, and faster than torch. qkv: [B, N, 3C]."""
    return qkv.dim() == 3 and readable(qkv.unflatten(-1, (3, num_heads, -1))) and 0 < qkv.shape[1] <= MOST_NORMALIZED


def readable(x: Tensor) -> bool:
    """Return whether the kernels can read heads [..., D]."""
    width = x.shape[-1]
    found = x.device.type == "cpu" and x.dtype in COMPILED_DTYPES and x.stride(-1) == 1
    return found and width % LANES == 0 and 0 < width <= MOST_WIDTH


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Compute softmax attention with scale D^-0.5. queries: [B, H, N, D]; keys, values: [B, H, M, D]. Returns [B, H, N, D]."""
    return _Attention.apply(queries, keys, values)


def attend_packed(qkv: Tensor, gains: Tensor) -> Tensor:
    """Normalise the heads of queries and keys (see `normalize_heads`) and compute their attention.

    qkv: [B, N, 3C], queries, keys and values; gains: [2, H, D]. Returns [B, N, C].
    """
    return _PackedAttention.apply(qkv.unflatten(-1, (3, *gains.shape[1:])), gains).transpose(1, 2).flatten(2)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(queries, keys, values)
        return _forward((queries, keys, values), _NO_GAINS)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        queries, keys, values = ctx.saved_tensors
        gradients = [_merged_heads(queries), *_merged_heads_of_two(keys)]
        _backward((queries, keys, values), _NO_GAINS, gradient, gradients)
        return tuple(gradients)


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, packed: Tensor, gains: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(packed, gains)
        return _forward(_parts(packed), _scaled(gains))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        packed, gains = ctx.saved_tensors
        result = torch.empty_like(packed, memory_format=torch.contiguous_format)
        gain_gradients = _backward(_parts(packed), _scaled(gains), gradient, _parts(result))
        return result, gain_gradients.transpose(0, 1).to(gains.dtype) * gains.shape[-1] ** 0.5


def _parts(packed: Tensor) -> tuple[Tensor, ...]:
    """Return queries, keys and values [B, H, N, D] as views."""
    return tuple(part.transpose(1, 2) for part in packed.unbind(2))


def _scaled(gains: Tensor) -> np.ndarray:
    return (gains.detach().float() * gains.shape[-1] ** 0.5).flatten().numpy()


def _merged_heads(like: Tensor) -> Tensor:
    """Return an empty tensor [B, H, N, D] that lies in memory as [B, N, H, D]."""
    batch, heads, count, width = like.shape
    return like.new_empty(batch, count, heads, width).transpose(1, 2)


def _merged_heads_of_two(like: Tensor) -> tuple[Tensor, ...]:
    """Return two empty tensors [B, H, N, D] that lie in memory as [B, N, 2, H, D]."""
    batch, heads, count, width = like.shape
    return tuple(part.transpose(1, 2) for part in like.new_empty(batch, count, 2, heads, width).unbind(2))


def _flat(*tensors: Tensor) -> list[Any]:
    return [argument for tensor in tensors for argument in (flat(tensor), tensor.stride()[:3])]


def _forward(inputs: tuple[Tensor, ...], gains: np.ndarray) -> Tensor:
    queries, keys, values = inputs
    batch, heads, num_queries, width = queries.shape
    out = _merged_heads(queries)
    kernels.run(
        attention_kernels.attend_forward, batch * heads, _ITEMS_OF_A_THREAD, *_flat(queries, keys, values), gains,
        (batch, heads, num_queries, keys.shape[2], width), *_flat(out),
    )  # fmt: skip
    return out


def _backward(
    inputs: tuple[Tensor, ...], gains: np.ndarray, gradient: Tensor, gradients: list[Tensor] | tuple[Tensor, ...]
) -> Tensor:
    """Fill the gradients of queries, keys and values; return those of the gains, [H, 2, D]."""
    queries, keys, values = inputs
    batch, heads, num_queries, width = queries.shape
    if gradient.stride(-1) != 1 or gradient.dtype != queries.dtype:
        gradient = gradient.to(queries.dtype).contiguous()
    of_queries, of_keys, of_values = gradients
    gain_gradients = torch.zeros(batch if len(gains) else 0, heads, 2, width)
    kernels.run(
        attention_kernels.attend_backward, batch * heads, _ITEMS_OF_A_THREAD, *_flat(queries, keys, values), gains,
        (batch, heads, num_queries, keys.shape[2], width), *_flat(gradient, of_queries), flat(of_keys), *_flat(of_values),
        gain_gradients.flatten().numpy(),
    )  # fmt: skip
    return gain_gradients.sum(0)
