"""What stands between two sublayers of a transformer: residual connection, LayerNorm and modulation, in one call.

On CPUs it is one compiled kernel forward and one backward, else torch's operations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gvf.compiled import kernels
from gvf.compiled.simd import LANES
from gvf.compiled.tensors import COMPILED_DTYPES, flat
from gvf.models.layers import norm_kernels
from gvf.models.layers.norm_kernels import CHUNK

_ITEMS_OF_A_THREAD = 16


class Modulation(NamedTuple):
    """What follows LayerNorm: normalised channels times `factor` plus `shift`, either [B, C] or [C]."""

    factor: Tensor
    shift: Tensor

    @classmethod
    def adaptive(cls, shift: Tensor, scale: Tensor) -> Modulation:
        """Return the modulation of adaLN, x (1 + scale) + shift. shift, scale: [B, C]."""
        return cls(1 + scale, shift)

    @classmethod
    def of(cls, norm: nn.LayerNorm) -> Modulation:
        """Return the gain and bias of a norm."""
        return cls(norm.weight, norm.bias)


def norm(x: Tensor, eps: float, modulation: Modulation | None = None) -> Tensor:
    """Apply LayerNorm over the last axis, and modulate. x: [B, ..., C]. Returns x's shape and dtype."""
    if _fits(x, None):
        return _Norm.apply(x, *_of_groups(x, None, modulation)[1:], eps)
    return _modulated(x, eps, modulation)


def add_and_norm(
    x: Tensor, update: Tensor, eps: float, modulation: Modulation | None = None, gate: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return x plus the update (times `gate`, [B, C]), and the norm of that, modulated.

    x, update: [B, ..., C]. Both results have x's shape and dtype.
    """
    if _fits(x, update):
        return _AddAndNorm.apply(x, update, *_of_groups(x, gate, modulation), eps)
    total = (x + update if gate is None else torch.addcmul(x, _spread(gate, x), update)).to(x.dtype)
    return total, _modulated(total, eps, modulation)


def _modulated(x: Tensor, eps: float, modulation: Modulation | None) -> Tensor:
    normal = F.layer_norm(x, x.shape[-1:], eps=eps)
    if modulation is None:
        return normal
    factor, shift = (_spread(part, x) for part in modulation)
    return torch.addcmul(shift, normal, factor).to(x.dtype)


def _spread(values: Tensor, x: Tensor) -> Tensor:
    """Return values [B, C] as [B, 1, ..., C], so that they broadcast against x. Values [C] broadcast already
    and are returned unchanged."""
    return values if values.dim() == 1 else values.view(len(values), *[1] * (x.dim() - 2), -1)


def _fits(x: Tensor, update: Tensor | None) -> bool:
    given = [x] if update is None else [x, update]
    return all(
        part.device.type == "cpu" and part.dtype in COMPILED_DTYPES and part.is_contiguous() and part.numel() > 0
        for part in given
    ) and (x.shape[-1] % LANES == 0 and all(part.shape == x.shape for part in given))


def _of_groups(x: Tensor, gate: Tensor | None, modulation: Modulation | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return gates, factors and shifts, each [G, C] float32, where G is the largest number of rows given, at least 1."""
    factor, shift = (None, None) if modulation is None else modulation
    given = [part for part in (gate, factor, shift) if part is not None]
    groups = max((len(part) for part in given if part.dim() == 2), default=1)

    def rows(values: Tensor | None, default: float) -> Tensor:
        if values is None:
            return x.new_full((1, 1), default, dtype=torch.float32).expand(groups, x.shape[-1])
        return values.float().expand(groups, -1)

    return rows(gate, 1.0), rows(factor, 1.0), rows(shift, 0.0)


def _run(kernel: Any, x: Tensor, groups: int, *arguments: Any) -> None:
    kernels.run(kernel, _items(x, groups), _ITEMS_OF_A_THREAD, *arguments)


def _items(x: Tensor, groups: int) -> int:
    tokens = x.numel() // (groups * x.shape[-1])
    return groups * -(-tokens // CHUNK)


def _shape(x: Tensor, groups: int) -> tuple[int, int, int]:
    return groups, x.numel() // (groups * x.shape[-1]), x.shape[-1]


def _backward(
    total: Tensor, update: Tensor, parts: tuple[Tensor, ...], eps: float, total_gradient: Tensor, out_gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x and of the update, and those of gates, factors and shifts, [G, 3, C]."""
    gates, factors = (part.contiguous() for part in parts)
    groups = len(gates)
    sums = torch.zeros(_items(total, groups), 3, total.shape[-1])
    gradient, update_gradient = torch.empty_like(total), torch.empty_like(update)
    _run(
        norm_kernels.add_and_norm_backward, total, groups, flat(total), flat(update), flat(gates), flat(factors),
        _shape(total, groups), eps, flat(total_gradient), flat(out_gradient.to(total.dtype).contiguous()), flat(gradient),
        flat(update_gradient), flat(sums),
    )  # fmt: skip
    return gradient, update_gradient, sums.view(groups, -1, 3, total.shape[-1]).sum(1)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factors: Tensor, shifts: Tensor, eps: float) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, factors)
        ctx.eps = eps
        groups, nothing, out = len(factors), x.new_empty(0), torch.empty_like(x)
        factors, shifts = factors.contiguous(), shifts.contiguous()
        _run(
            norm_kernels.add_and_norm, x, groups, flat(x), flat(nothing), flat(factors), flat(factors), flat(shifts),
            _shape(x, groups), eps, flat(x), flat(out),
        )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out_gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, factors = ctx.saved_tensors
        nothing = x.new_empty(0)
        gradient, _, sums = _backward(x, nothing, (factors, factors), ctx.eps, nothing, out_gradient)
        return gradient, sums[:, 1], sums[:, 2], None


class _AddAndNorm(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, update: Tensor, gates: Tensor, factors: Tensor, shifts: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        groups, total, out = len(factors), torch.empty_like(x), torch.empty_like(x)
        ctx.save_for_backward(total, update, gates, factors)
        ctx.eps = eps
        gates, factors, shifts = gates.contiguous(), factors.contiguous(), shifts.contiguous()
        _run(
            norm_kernels.add_and_norm, x, groups, flat(x), flat(update), flat(gates), flat(factors), flat(shifts),
            _shape(x, groups), eps, flat(total), flat(out),
        )  # fmt: skip
        return total, out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, total_gradient: Tensor, out_gradient: Tensor) -> tuple[Tensor | None, ...]:
        total, update, gates, factors = ctx.saved_tensors
        total_gradient = total_gradient.to(total.dtype).contiguous()
        gradient, update_gradient, sums = _backward(
            total, update, (gates, factors), ctx.eps, total_gradient, out_gradient
        )
        return gradient, update_gradient, *sums.unbind(1), None
