"""The compiled activations against torch's in double precision, values and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gvf.models.layers.activations import geglu, gelu_tanh
from tests.models.precision import TOLERANCES, assert_near


def torch_gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def torch_geglu(x: Tensor) -> Tensor:
    values, gates = x.chunk(2, dim=-1)
    return values * F.gelu(gates)


@pytest.mark.parametrize(("ours", "theirs"), [(gelu_tanh, torch_gelu), (geglu, torch_geglu)])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_values_and_gradients(
    ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    x = (torch.randn(300, 96) * 3).to(dtype).requires_grad_()
    exact_x = x.detach().double().requires_grad_()
    result, exact = ours(x), theirs(exact_x)
    assert result.dtype == dtype
    assert type(result.grad_fn).__name__.startswith(("_Gelu", "_Geglu"))
    assert_near(result, exact)
    weight = torch.randn_like(result)
    assert_near(torch.autograd.grad(result, x, weight)[0], torch.autograd.grad(exact, exact_x, weight.double())[0])


def test_far_values_keep_their_limits() -> None:
    far = torch.tensor([-1e4, -200.0, -20.0, 0.0, 20.0, 200.0, 1e4, 1.0] * 2, requires_grad=True)
    result = gelu_tanh(far)
    torch.testing.assert_close(result, F.gelu(far.detach(), approximate="tanh"))
    (slopes,) = torch.autograd.grad(result.sum(), far)
    torch.testing.assert_close(slopes[[1, 2, 3, 4, 5]], torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]))
    gates = torch.cat((torch.ones(16), far.detach()))
    torch.testing.assert_close(geglu(gates), F.gelu(far.detach()), atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("ours", [gelu_tanh, geglu])
def test_double_precision_goes_to_torch_and_agrees_with_finite_differences(ours: Callable[[Tensor], Tensor]) -> None:
    assert torch.autograd.gradcheck(ours, torch.randn(3, 32, dtype=torch.float64, requires_grad=True))


def test_values_that_do_not_fill_a_vector_go_to_torch() -> None:
    x = torch.randn(3, 5)
    torch.testing.assert_close(gelu_tanh(x), torch_gelu(x))
    torch.testing.assert_close(geglu(x[:, :4]), torch_geglu(x[:, :4]))
