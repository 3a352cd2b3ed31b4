"""The tokens of moving mesh points that the variation VAE's encoder attends to (Eq. 5): by compiled kernels on CPUs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gvf.compiled import kernels
from gvf.compiled.simd import LANES
from gvf.compiled.tensors import flat
from gvf.models.layers.residual import norm
from gvf.models.variation import displacement_kernels
from gvf.models.variation.displacement_kernels import CHUNK

_ITEMS_OF_A_THREAD = 4


def displacement_tokens(
    displacements: Tensor, positions: Tensor, linear: nn.Linear, eps: tuple[float, float]
) -> Tensor:
    """Return norm(norm(linear(displacements)) + positions), both norms over channels without gain and bias.

    displacements: [B, T, N, 3], object units; positions: [B, N, C], embedded. eps: of the inner norm and of the outer one.
    Returns [B, T, N, C].
    """
    if not _fits(displacements, positions):
        return tokens_by_torch(displacements, positions, linear, eps)
    weights = torch.cat((linear.weight.t(), linear.bias[None])).float()
    weights = weights - weights.mean(1, keepdim=True)  # so that the inner norm's mean is 0 for any displacement
    return _Tokens.apply(displacements.contiguous(), positions.contiguous(), weights, eps)


def tokens_by_torch(displacements: Tensor, positions: Tensor, linear: nn.Linear, eps: tuple[float, float]) -> Tensor:
    """Compute `displacement_tokens` by torch's operations."""
    embedded = F.layer_norm(linear(displacements), (linear.out_features,), eps=eps[0])
    return norm(embedded.add(positions.unsqueeze(1)), eps[1])


def _fits(displacements: Tensor, positions: Tensor) -> bool:
    given = (displacements, positions)
    return (
        all(part.device.type == "cpu" and part.dtype == torch.float32 and not part.requires_grad for part in given)
        and positions.shape[-1] % LANES == 0
        and displacements.numel() > 0
    )


class _Tokens(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, displacements: Tensor, positions: Tensor, weights: Tensor, eps: tuple[float, float]
    ) -> Tensor:
        weights = weights.contiguous()
        ctx.save_for_backward(displacements, positions, weights)
        ctx.eps = eps
        out = positions.new_empty(*displacements.shape[:3], positions.shape[-1])
        _run(displacement_kernels.displacement_tokens, displacements, positions, weights, eps, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        displacements, positions, weights = ctx.saved_tensors
        sums = torch.zeros(_items(displacements), *weights.shape)
        gradient = gradient.float().contiguous()
        backward = displacement_kernels.displacement_tokens_backward
        _run(backward, displacements, positions, weights, ctx.eps, gradient, sums)
        return None, None, sums.sum(0), None


def _items(displacements: Tensor) -> int:
    clips, frames, points, _ = displacements.shape
    return clips * frames * -(-points // CHUNK)


def _run(
    kernel: Any, displacements: Tensor, positions: Tensor, weights: Tensor, eps: tuple[float, float], *others: Tensor
) -> None:
    shape = (*displacements.shape[:3], positions.shape[-1])
    kernels.run(
        kernel, _items(displacements), _ITEMS_OF_A_THREAD, flat(displacements), flat(positions), flat(weights), shape, eps,
        *(flat(other) for other in others),
    )  # fmt: skip
