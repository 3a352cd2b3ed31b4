"""Normalisations: of tokens, of the heads' queries and keys, and adaptive scale and shift."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST_NORM = 1e-12


class HeadRMSNorm(nn.Module):
    """The learned gain `gamma` [H, D] of one QK norm; the arithmetic is `normalize_heads`."""

    def __init__(self, num_heads: int, head_width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(num_heads, head_width))


def normalize_heads(x: Tensor, gamma: Tensor) -> Tensor:
    """Divide each head's vector by its L2 norm, multiply by sqrt(D) and by gamma, in float32.

    x: [..., H, D]; gamma: broadcasts against x. Returns x's shape and dtype.
    """
    gain = gamma.float() * x.shape[-1] ** 0.5
    return _ScaledUnit.apply(x, gain)


class _ScaledUnit(torch.autograd.Function):
    """x / |x| times a gain, with its own backward pass: autograd's takes twice as long on CPU."""

    @staticmethod
    def forward(ctx, x, gain):  # type: ignore[no-untyped-def]
        wide = x.float()
        inverse = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).clamp_min_(SMALLEST_NORM).reciprocal_()
        unit = wide * inverse
        ctx.save_for_backward(unit, inverse, gain)
        ctx.dtype = x.dtype
        return (unit * gain).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        unit, inverse, gain = ctx.saved_tensors
        gradient = gradient.float()
        gain_gradient = (gradient * unit).sum_to_size(gain.shape)
        gradient = gradient * gain
        along = (gradient * unit).sum(-1, keepdim=True)
        return torch.addcmul(gradient, unit, along, value=-1).mul_(inverse).to(ctx.dtype), gain_gradient


def layer_norm(x: Tensor, eps: float) -> Tensor:
    """Apply LayerNorm over the last axis without gain and bias."""
    return F.layer_norm(x, x.shape[-1:], eps=eps)


class WideLayerNorm(nn.LayerNorm):
    """LayerNorm with gain and bias, computed in float32; the result has the dtype of the input."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised input [..., C]. x: [..., C]."""
        return super().forward(x.float()).to(x.dtype)


class ChannelLayerNorm(WideLayerNorm):
    """WideLayerNorm over the channels of a grid."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised input [B, C, ...]. x: [B, C, ...]."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Apply the modulation of adaLN, x (1 + scale) + shift. x: [..., C]; shift, scale: broadcast against it."""
    return torch.addcmul(shift, x, 1 + scale)
