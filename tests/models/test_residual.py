"""Residual connection, norm and modulation against their formulas in double precision, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gvf.models.layers.residual import Modulation, add_and_norm, norm
from tests.models.precision import TOLERANCES, assert_near

EPS = 1e-6


def formula(total: Tensor, factor: Tensor | float, shift: Tensor | float) -> Tensor:
    centred = total - total.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + EPS).sqrt() * factor + shift


def doubles(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().double().requires_grad_() for tensor in tensors]


@pytest.fixture(params=TOLERANCES)
def tokens(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return x and an update [3, 5, 9, 48], more tokens than a work item has, and the gradients of two results."""
    torch.manual_seed(0)
    x, update, *weights = (torch.randn(3, 5, 9, 48).to(request.param) for _ in range(4))
    return (x + 1).requires_grad_(), update.requires_grad_(), *weights


def test_gate_and_adaptive_norm(tokens: tuple[Tensor, ...]) -> None:
    x, update, *weights = tokens
    parts = [torch.randn(3, 48, requires_grad=True) for _ in range(3)]
    gate, shift, scale = parts
    results = add_and_norm(x, update, EPS, Modulation.adaptive(shift, scale), gate)
    assert type(results[1].grad_fn).__name__ == "_AddAndNormBackward"
    exact_x, exact_update, *exact_parts = doubles(x, update, *parts)
    one, two, three = (part[:, None, None] for part in exact_parts)
    total = exact_x + one * exact_update
    exact = (total, formula(total, 1 + three, two))
    for ours, expected in zip(results, exact):
        assert ours.dtype == x.dtype
        assert_near(ours, expected)
    found = torch.autograd.grad(results, (x, update, *parts), weights)
    wanted = torch.autograd.grad(exact, (exact_x, exact_update, *exact_parts), [part.double() for part in weights])
    for ours, expected in zip(found, wanted):
        assert_near(ours.to(x.dtype), expected)


def test_gain_and_bias_shared_by_all_tokens(tokens: tuple[Tensor, ...]) -> None:
    x, update, _, weight = tokens
    layer = nn.LayerNorm(48, eps=EPS)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    _, result = add_and_norm(x, update, EPS, Modulation.of(layer))
    exact_x, exact_update, gain, bias = doubles(x, update, layer.weight, layer.bias)
    exact = formula(exact_x + exact_update, gain, bias)
    assert_near(result, exact)
    found = torch.autograd.grad(result, (x, update, layer.weight, layer.bias), weight)
    for ours, expected in zip(found, torch.autograd.grad(exact, (exact_x, exact_update, gain, bias), weight.double())):
        assert_near(ours.to(x.dtype), expected)


def test_norm_alone(tokens: tuple[Tensor, ...]) -> None:
    x, _, _, weight = tokens
    (exact_x,) = doubles(x)
    result, exact = norm(x, EPS), formula(exact_x, 1.0, 0.0)
    assert_near(result, exact)
    assert_near(torch.autograd.grad(result, x, weight)[0], torch.autograd.grad(exact, exact_x, weight.double())[0])


def test_torch_computes_the_rest_and_agrees_with_finite_differences() -> None:
    torch.manual_seed(1)
    inputs = doubles(torch.randn(2, 3, 5), torch.randn(2, 3, 5), *torch.randn(3, 2, 5).unbind())

    def compute(x: Tensor, update: Tensor, gate: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        return add_and_norm(x, update, EPS, Modulation.adaptive(shift, scale), gate)

    assert torch.autograd.gradcheck(compute, inputs)
    x, update, gate, shift, scale = inputs
    total = x + gate[:, None] * update
    torch.testing.assert_close(compute(*inputs), (total, formula(total, 1 + scale[:, None], shift[:, None])))
    torch.testing.assert_close(norm(x, EPS), formula(x, 1.0, 0.0))
