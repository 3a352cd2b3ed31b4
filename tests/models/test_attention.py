"""Attention, norms and embeddings against their formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gvf.models.layers.attention import CrossAttention, SelfAttention, attend
from gvf.models.layers.embedding import AbsolutePositionEmbedding, PointEmbedding, TimestepEmbedding
from gvf.models.layers.feed_forward import GatedFeedForward
from gvf.models.layers.norm import normalize_heads


def plain_attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    logits = torch.einsum("bhnd,bhmd->bhnm", queries, keys) / math.sqrt(queries.shape[-1])
    if mask is not None:
        logits = torch.where(mask, logits, torch.tensor(-math.inf, dtype=logits.dtype))
    return torch.einsum("bhnm,bhmd->bhnd", torch.softmax(logits, -1), values)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_values_and_gradients_of_attention(dtype: torch.dtype, tolerance: float, masked: bool) -> None:
    torch.manual_seed(0)
    reference = [torch.randn(2, 3, n, 8, dtype=torch.float64).to(dtype).double() for n in (5, 7, 7)]
    some = torch.rand(2, 1, 1, 7) > 0.4
    some[..., 0] = True
    mask = some if masked else None
    inputs = [part.to(dtype).requires_grad_() for part in reference]
    reference = [part.requires_grad_() for part in reference]
    weight = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    result, expected = (
        attend(inputs[0], inputs[1], inputs[2], mask),
        plain_attention(reference[0], reference[1], reference[2], mask),
    )
    assert result.dtype == dtype
    torch.testing.assert_close(result.double(), expected, atol=tolerance, rtol=tolerance)
    (result.double() * weight).sum().backward()
    (expected * weight).sum().backward()
    for ours, theirs in zip(inputs, reference, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=2 * tolerance, rtol=2 * tolerance)


def test_without_gradients_bfloat16_gives_the_same() -> None:
    inputs = [torch.randn(2, 3, n, 8, dtype=torch.bfloat16) for n in (5, 7, 7)]
    with_gradient = attend(*(part.clone().requires_grad_() for part in inputs))
    torch.testing.assert_close(attend(*inputs), with_gradient.detach(), atol=2e-2, rtol=2e-2)


def test_heads_are_contiguous_groups_of_channels() -> None:
    torch.manual_seed(0)
    cross = CrossAttention(8, 2, bias=False)
    x, context = torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    q, kv = x @ cross.to_q.weight.T, context @ cross.to_kv.weight.T
    k, v = kv[..., :8], kv[..., 8:]
    heads = []
    for group in (slice(0, 4), slice(4, 8)):
        heads.append(plain_attention(q[:, None, :, group], k[:, None, :, group], v[:, None, :, group])[:, 0])
    expected = cross.to_out(torch.cat(heads, -1))
    torch.testing.assert_close(cross(x, cross.project_context(context)), expected)


@pytest.mark.parametrize("bias", [False, True])
def test_a_long_context_is_attended_to_without_projecting_it(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    cross = CrossAttention(16, 2, bias=bias, context_channels=24).double()
    if bias:
        nn.init.normal_(cross.to_kv.bias)
    x, context = torch.randn(3, 5, 16).double().requires_grad_(), torch.randn(3, 40, 24).double().requires_grad_()
    projected = cross(x, cross.project_context(context))
    monkeypatch.setattr(cross, "project_context", None)
    absorbed = cross.attend_once(x, context)
    torch.testing.assert_close(absorbed, projected)
    inputs, weight = (x, context, cross.to_q.weight, cross.to_kv.weight), torch.randn_like(projected)
    for ours, expected in zip(
        torch.autograd.grad(absorbed, inputs, weight), torch.autograd.grad(projected, inputs, weight)
    ):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("times", [1, 3])
def test_many_queries_of_few_tokens_are_not_projected(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    cross = CrossAttention(16, 2, bias=False).double()
    x, context = (
        torch.randn(2, 50, 16).double().requires_grad_(),
        torch.randn(2 * times, 8, 16).double().requires_grad_(),
    )
    weight, bias = torch.randn(5, 16).double().requires_grad_(), torch.randn(5).double().requires_grad_()
    pairs = cross.project_context(context)
    repeated = x.unsqueeze(1).expand(-1, times, -1, -1).flatten(0, 1)
    projected = F.linear(cross.attend(cross.project_queries(repeated), pairs), weight, bias)
    monkeypatch.setattr(cross, "project_queries", None)
    absorbed = cross.attend_and_project(x, pairs, weight, bias)
    torch.testing.assert_close(absorbed, projected)
    inputs, gradient = (x, context, weight, bias, cross.to_q.weight), torch.randn_like(projected)
    for ours, expected in zip(
        torch.autograd.grad(absorbed, inputs, gradient, retain_graph=True),
        torch.autograd.grad(projected, inputs, gradient),
    ):
        torch.testing.assert_close(ours, expected)


def test_more_tokens_are_met_with_projected_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    cross = CrossAttention(16, 2, bias=False)
    x, pairs = torch.randn(2, 50, 16), cross.project_context(torch.randn(4, 9, 16))
    weight, bias = torch.randn(5, 16), torch.randn(5)
    monkeypatch.setattr(cross, "_attend_few", None)
    found = cross.attend_and_project(x, pairs, weight, bias)
    repeated = x.unsqueeze(1).expand(-1, 2, -1, -1).flatten(0, 1)
    torch.testing.assert_close(found, F.linear(cross.attend(cross.project_queries(repeated), pairs), weight, bias))


def test_a_short_context_is_projected(monkeypatch: pytest.MonkeyPatch) -> None:
    cross = CrossAttention(16, 2, bias=False)
    x, context = torch.randn(3, 5, 16), torch.randn(3, 39, 16)
    monkeypatch.setattr(cross, "_attend_absorbed", None)
    torch.testing.assert_close(cross.attend_once(x, context), cross(x, cross.project_context(context)))


def test_qk_norm_makes_attention_blind_to_the_length_of_queries() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 4, 8)
    gamma = torch.rand(4, 8)
    expected = x / x.norm(dim=-1, keepdim=True) * math.sqrt(8) * gamma
    torch.testing.assert_close(normalize_heads(x, gamma), expected)
    inputs = [value.requires_grad_() for value in (x, gamma)]
    outputs = [value.detach().double().requires_grad_() for value in inputs]
    weight = torch.randn_like(x)
    (normalize_heads(*inputs) * weight).sum().backward()
    (F.normalize(outputs[0], dim=-1) * math.sqrt(8) * outputs[1] * weight).sum().backward()
    for ours, theirs in zip(inputs, outputs, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=1e-5, rtol=1e-4)
    attention = SelfAttention(16, 2, qk_norm=True)
    tokens = torch.randn(1, 6, 16)
    before = attention(tokens)
    with torch.no_grad():
        attention.to_qkv.weight[:32] *= 3.0
        attention.to_qkv.bias[:32] *= 3.0
    torch.testing.assert_close(attention(tokens), before)


def test_gated_feed_forward_gates_with_the_second_half() -> None:
    layer = GatedFeedForward(4, 2)
    x = torch.randn(3, 4)
    first, _, last = layer.net
    hidden = first(x)
    gate = 0.5 * hidden[:, 8:] * (1 + torch.erf(hidden[:, 8:] / math.sqrt(2)))
    torch.testing.assert_close(layer(x), last(hidden[:, :8] * gate))


def test_absolute_positions() -> None:
    embedded = AbsolutePositionEmbedding(16)(torch.tensor([[3.0, 0.5, 7.0]]))  # 2 frequencies, 4 channels left over
    frequencies = (1.0, 10000.0**-0.5)
    expected = [wave(p * f) for p in (3.0, 0.5, 7.0) for wave in (math.sin, math.cos) for f in frequencies]
    torch.testing.assert_close(embedded, torch.tensor([[*expected, 0.0, 0.0, 0.0, 0.0]]))


def test_point_embedding_runs_to_twice_the_exponent() -> None:
    embedding = PointEmbedding(24)
    assert embedding.omega.dtype == torch.float64
    frequencies = [10000.0 ** (-j / 2) for j in range(4)]
    expected = [wave(p * f) for p in (0.3, -0.4, 0.1) for wave in (math.sin, math.cos) for f in frequencies]
    torch.testing.assert_close(embedding(torch.tensor([0.3, -0.4, 0.1])), torch.tensor(expected))
    scaled = PointEmbedding(24, position_scale=10.0)(torch.tensor([0.03, -0.04, 0.01]))
    torch.testing.assert_close(scaled, torch.tensor(expected))


def test_timesteps_are_embedded_cosines_first() -> None:
    embedding = TimestepEmbedding(6, num_frequencies=3)
    embedding.mlp = torch.nn.Identity()  # type: ignore[assignment]
    frequencies = [math.exp(-math.log(10000) * j / 3) for j in range(3)]
    expected = [wave(41.5 * f) for wave in (math.cos, math.sin) for f in frequencies]
    torch.testing.assert_close(embedding(torch.tensor([41.5])), torch.tensor([expected]), atol=1e-5, rtol=1e-5)
