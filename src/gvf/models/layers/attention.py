"""Multi-head attention: self and cross, through our compiled kernels for few tokens or else torch's fused one.

Torch's fused kernel is reached with 4-D inputs [B, H, N, D] only: with five axes torch falls back to the unfused path
silently, so callers flatten their leading axes first.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gvf.models.layers import compiled_attention
from gvf.models.layers.norm import HeadRMSNorm, normalize_heads

ABSORBING_LENGTH = 4  # tokens of a context for each row of queries, from which its projection is not worth its while


class KeysValues(NamedTuple):
    """Projected context of a cross attention, ready to be attended to; computed once and used as often as wanted."""

    keys: Tensor  # [B, H, N, D]
    values: Tensor  # [B, H, N, D]


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Reshape [B, N, H*D] to [B, H, N, D] (a view)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Reshape [B, H, N, D] to [B, N, H*D]."""
    return x.transpose(1, 2).flatten(2)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute softmax attention with scale D^-0.5.

    queries: [B, H, N, D]; keys, values: [B, H, M, D]; mask: broadcasts to [B, H, N, M], true where a key may be seen
    (each query must see at least one). Returns [B, H, N, D].

    Few keys on CPU go to our own kernels. It is else torch's fused kernel, but for one case: bfloat16 training on CPU,
    where the kernel's backward pass takes 2 to 10 times as long as two batched products (64 x 4 heads of 32 tokens: 34 ms
    against 3, one thread, torch 2.11).
    """
    if mask is None and compiled_attention.fits(queries, keys, values):
        return compiled_attention.attend(queries, keys, values)
    return attend_by_torch(queries, keys, values, mask)


def attend_by_torch(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute `attend` by torch's operations alone."""
    if queries.device.type == "cpu" and queries.dtype == torch.bfloat16 and queries.requires_grad:
        logits = torch.matmul(queries * queries.shape[-1] ** -0.5, keys.transpose(-1, -2))
        if mask is not None:
            logits = logits.masked_fill(~mask, float("-inf"))
        return torch.matmul(logits.softmax(-1), values)
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


class SelfAttention(nn.Module):
    """Attention of a set of tokens to itself: one projection to queries, keys and values, biases everywhere.

    qk_norm: each head's queries and keys get unit length times sqrt(D) times a learned gain, in float32 (Appendix A).
    """

    def __init__(self, width: int, num_heads: int, *, qk_norm: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_qkv = nn.Linear(width, 3 * width)
        if qk_norm:
            self.q_rms_norm = HeadRMSNorm(num_heads, width // num_heads)
            self.k_rms_norm = HeadRMSNorm(num_heads, width // num_heads)
        self.qk_norm = qk_norm
        self.to_out = nn.Linear(width, width)

    def gains(self) -> Tensor:
        """Return the gains of queries and keys, [2, H, D]."""
        return torch.stack((self.q_rms_norm.gamma, self.k_rms_norm.gamma))

    def queries_keys_values(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, each [..., N, H, D], from what `to_qkv` makes, [..., N, 3C]."""
        parts = qkv.unflatten(-1, (3, self.num_heads, -1))
        if not self.qk_norm:
            return parts.unbind(-3)
        queries, keys = normalize_heads(parts[..., :2, :, :], self.gains()).unbind(-3)
        return queries, keys, parts[..., 2, :, :]

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the attention output [B, N, C]. x: [B, N, C]; mask: see `attend`."""
        qkv = self.to_qkv(x)
        if self.qk_norm and mask is None and compiled_attention.fits_packed(qkv, self.num_heads):
            return self.to_out(compiled_attention.attend_packed(qkv, self.gains()))
        queries, keys, values = (part.transpose(1, 2) for part in self.queries_keys_values(qkv))
        return self.to_out(merge_heads(attend(queries, keys, values, mask)))


class CrossAttention(nn.Module):
    """Attention of queries to a context; `bias` concerns the three input projections, the output always has one.

    context_channels: of the context, `width` by default.
    """

    def __init__(self, width: int, num_heads: int, *, bias: bool, context_channels: int | None = None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(width, width, bias=bias)
        self.to_kv = nn.Linear(context_channels or width, 2 * width, bias=bias)
        self.to_out = nn.Linear(width, width)

    def project_queries(self, x: Tensor) -> Tensor:
        """Return the queries [B, H, N, D]. x: [B, N, C]."""
        return split_heads(self.to_q(x), self.num_heads)

    def project_context(self, context: Tensor) -> KeysValues:
        """Return the keys and values of a context [B, N, context_channels]."""
        keys, values = self.to_kv(context).unflatten(-1, (2, self.num_heads, -1)).unbind(-3)
        return KeysValues(keys.transpose(1, 2), values.transpose(1, 2))

    def attend(self, queries: Tensor, context: KeysValues) -> Tensor:
        """Return the attention output [B, N, C], before the output projection. queries: [B, H, N, D], projected."""
        return merge_heads(attend(queries, context.keys, context.values))

    def forward(self, x: Tensor, context: KeysValues) -> Tensor:
        """Return the attention output [B, N, C]. x: [B, N, C]."""
        return self.to_out(self.attend(self.project_queries(x), context))

    def attend_and_project(self, x: Tensor, context: KeysValues, weight: Tensor, bias: Tensor) -> Tensor:
        """Return a linear map of what several contexts tell each token: weight a + bias for the attention output a.

        x: [B, N, C]; context: of B*T sets of tokens, T for each item of x; weight: [O, C]. Returns [B*T, N, O]. Where few
        tokens are attended to on CPU, W_q is carried to their keys and `weight` to their values, so that two products of
        large matrices are left: the same function, at half of its time for 5,000 queries, 4 heads and 32 tokens.
        """
        times = len(context.keys) // len(x)
        few = self.num_heads * context.keys.shape[2] <= x.shape[-1]
        if x.device.type == "cpu" and few and self.to_q.bias is None:
            return self._attend_few(x, context, weight) + bias
        queries = self.project_queries(x).unsqueeze(1).expand(-1, times, -1, -1, -1).flatten(0, 1)
        return F.linear(self.attend(queries, context), weight, bias)

    def _attend_few(self, x: Tensor, context: KeysValues, weight: Tensor) -> Tensor:
        """Return the map [B*T, N, O], without its bias, by q k^T = x (W_q^T k)^T and W_o (p v) = p (W_o v)."""
        items, heads, width = len(context.keys), self.num_heads, context.keys.shape[-1]

        def carried(tokens: Tensor, matrices: Tensor) -> Tensor:  # [B*T, H, L, D] by [H, D, K] to [B*T, H*L, K]
            rows = torch.bmm(tokens.transpose(0, 1).flatten(1, 2), matrices).unflatten(1, (items, -1))
            return rows.transpose(0, 1).flatten(1, 2)

        keys = carried(context.keys * width**-0.5, self.to_q.weight.unflatten(0, (heads, -1)))
        values = carried(context.values, weight.unflatten(1, (heads, -1)).permute(1, 2, 0))
        logits = torch.bmm(x, keys.unflatten(0, (len(x), -1)).flatten(1, 2).transpose(1, 2))  # [B, N, T*H*L]
        shares = logits.unflatten(-1, (-1, context.keys.shape[2])).softmax(-1).flatten(2)
        by_item = shares.unflatten(-1, (-1, keys.shape[1])).transpose(1, 2).flatten(0, 1)  # [B*T, N, H*L]
        return torch.bmm(by_item.to(values.dtype), values)

    def attend_once(self, x: Tensor, context: Tensor) -> Tensor:
        """Return `forward` for a context [B, M, context_channels] whose projection nobody else needs.

        Where few queries meet a long context on CPU, the queries are carried to the context's channels instead of every
        token of the context to the heads, and back: the same function, at half of its time for 32 queries of 4 heads
        among 1,024 tokens of 128 channels.
        """
        rows = self.num_heads * x.shape[1]
        if context.device.type == "cpu" and rows <= context.shape[-1] and context.shape[1] >= ABSORBING_LENGTH * rows:
            return self.to_out(self._attend_absorbed(x, context))
        return self.forward(x, self.project_context(context))

    def _attend_absorbed(self, x: Tensor, context: Tensor) -> Tensor:
        """Return the attention output [B, N, C] by q (W_k c)^T = (q W_k) c^T.

        The bias of the keys is left out: it adds the same number to all logits of a query, which softmax ignores.
        """
        batch, heads = len(x), self.num_heads
        keys, values = self.to_kv.weight.unflatten(0, (2, heads, -1)).unbind(0)  # [H, D, context_channels]
        queries = self.to_q(x).unflatten(-1, (heads, -1)).permute(2, 0, 1, 3).flatten(1, 2)  # [H, B*N, D]
        rows = torch.bmm(queries * queries.shape[-1] ** -0.5, keys).unflatten(1, (batch, -1))
        logits = torch.bmm(rows.transpose(0, 1).flatten(1, 2), context.transpose(1, 2))  # [B, H*N, M]
        means = torch.bmm(logits.softmax(-1), context).unflatten(1, (heads, -1)).transpose(0, 1).flatten(1, 2)
        out = torch.bmm(means, values.transpose(1, 2)).unflatten(1, (batch, -1)).permute(1, 2, 0, 3).flatten(2)
        return out if self.to_kv.bias is None else out + self.to_kv.bias.chunk(2)[1]
