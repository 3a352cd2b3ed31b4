"""The compiled attention against its formula in double precision, values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gvf.models.layers import compiled_attention
from gvf.models.layers.attention import SelfAttention, attend, attend_by_torch
from tests.models.precision import TOLERANCES, assert_near


def formula(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return (queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5).softmax(-1) @ values


def normalized(qkv: Tensor, gains: Tensor) -> tuple[Tensor, ...]:
    queries, keys, values = qkv.unflatten(-1, (3, *gains.shape[1:])).unbind(2)
    queries, keys = (
        F.normalize(part, dim=-1) * part.shape[-1] ** 0.5 * gain for part, gain in zip((queries, keys), gains)
    )
    return tuple(part.transpose(1, 2) for part in (queries, keys, values))


def doubles(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().double().requires_grad_() for tensor in tensors]


# Queries and keys: one of each, fewer and more than a block of queries, padded keys, a full vector of keys.
@pytest.mark.parametrize(("num_queries", "num_keys"), [(1, 1), (5, 7), (70, 25), (32, 32)])
@pytest.mark.parametrize("width", [16, 48])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_values_and_gradients(num_queries: int, num_keys: int, width: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    queries = torch.randn(2, num_queries, 3, width).to(dtype).transpose(1, 2).requires_grad_()
    packed = torch.randn(2, num_keys, 2, 3, width).to(dtype).requires_grad_()
    keys, values = (part.transpose(1, 2) for part in packed.unbind(2))
    assert compiled_attention.fits(queries, keys, values)
    weight = torch.randn(2, 3, num_queries, width).to(dtype)
    exact_queries, exact_packed = doubles(queries, packed)
    exact = formula(exact_queries, *(part.transpose(1, 2) for part in exact_packed.unbind(2)))
    result = attend(queries, keys, values)
    assert result.dtype == dtype
    assert_near(result, exact)
    found = torch.autograd.grad(result, (queries, packed), weight)
    for ours, expected in zip(found, torch.autograd.grad(exact, (exact_queries, exact_packed), weight.double())):
        assert_near(ours, expected)


@pytest.mark.parametrize("count", [1, 8, 45])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_values_and_gradients_with_normalised_heads(count: int, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    gains = (torch.rand(2, 3, 32) + 0.5).requires_grad_()
    qkv = torch.randn(4, count, 3 * 3 * 32).to(dtype).requires_grad_()
    assert compiled_attention.fits_packed(qkv, 3)
    exact_qkv, exact_gains = doubles(qkv, gains)
    exact = formula(*normalized(exact_qkv, exact_gains)).transpose(1, 2).flatten(2)
    result = compiled_attention.attend_packed(qkv, gains)
    assert_near(result, exact)
    weight = torch.randn(4, count, 96).to(dtype)
    found = torch.autograd.grad(result, (qkv, gains), weight)
    for ours, expected in zip(found, torch.autograd.grad(exact, (exact_qkv, exact_gains), weight.double())):
        assert_near(ours, expected)


def test_the_formula_and_torch_agree_with_finite_differences() -> None:
    torch.manual_seed(2)
    qkv, gains = doubles(torch.randn(1, 4, 2 * 3 * 16), torch.rand(2, 2, 16) + 0.5)
    assert torch.autograd.gradcheck(lambda *inputs: attend_by_torch(*normalized(*inputs)), (qkv, gains))
    assert torch.autograd.gradcheck(lambda *inputs: formula(*normalized(*inputs)), (qkv, gains))


def test_large_and_distant_logits_neither_overflow_nor_vanish() -> None:
    queries = torch.full((1, 1, 2, 16), 100.0, requires_grad=True)
    keys = torch.stack([torch.full((16,), value) for value in (-100.0, 100.0, 99.9)])[None, None]
    values = torch.eye(3, 16)[None, None].contiguous()
    assert_near(attend(queries, keys, values), formula(queries.double(), keys.double(), values.double()))
    assert_near(attend(-queries, keys, values), formula(-queries.double(), keys.double(), values.double()))


def test_results_do_not_depend_on_threads() -> None:
    torch.manual_seed(3)
    qkv, gains = torch.randn(64, 9, 3 * 64, requires_grad=True), torch.rand(2, 4, 16, requires_grad=True)

    def gradients() -> tuple[Tensor, ...]:
        return torch.autograd.grad(compiled_attention.attend_packed(qkv, gains).square().sum(), (qkv, gains))

    gradients()  # compiled by one thread
    threads = torch.get_num_threads()
    found = []
    for count in (1, 3):
        torch.set_num_threads(count)
        found.append(gradients())
    torch.set_num_threads(threads)
    assert all(torch.equal(*pair) for pair in zip(*found))


def test_what_the_kernels_do_not_compute_goes_to_torch() -> None:
    queries, keys, values = torch.randn(3, 2, 2, 4, 16).unbind(0)
    assert compiled_attention.fits(queries, keys, values)
    assert not compiled_attention.fits(queries.double(), keys.double(), values.double())
    assert not compiled_attention.fits(queries, keys.bfloat16(), values)
    assert not compiled_attention.fits(queries[..., :8], keys[..., :8], values[..., :8])  # narrower than a vector
    assert not compiled_attention.fits(queries.to("meta"), keys.to("meta"), values.to("meta"))
    attention = SelfAttention(32, 2, qk_norm=True)
    x, mask = torch.randn(2, 5, 32), torch.ones(2, 1, 1, 5, dtype=torch.bool)
    torch.testing.assert_close(attention(x), attention(x, mask))  # a mask is torch's


def test_what_is_not_a_number_stays_visible() -> None:
    queries, keys, values = torch.randn(3, 1, 1, 4, 16).unbind(0)
    queries[0, 0, 1, 3] = float("nan")
    found = attend(queries, keys, values).isfinite().all(-1)[0, 0]
    assert found.tolist() == [True, False, True, True]
