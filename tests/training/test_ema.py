"""The averaged weights against their closed form."""

from __future__ import annotations

import torch

from gvf.training.ema import Ema


def test_closed_form() -> None:
    """After n updates: d^n w_0 + (1 - d) sum_i d^(n-i) w_i, here in float64."""
    generator = torch.Generator().manual_seed(0)
    history = torch.randn(30, 5, generator=generator)
    live = history[0].clone()
    ema = Ema(lambda: [live], decay=0.9)
    for weights in history[1:]:
        live.copy_(weights)
        ema.update()
    decays = 0.9 ** torch.arange(29, -1, -1, dtype=torch.float64)
    factors = decays * torch.tensor([1.0] + [0.1] * 29, dtype=torch.float64)
    expected = (factors[:, None] * history.double()).sum(0)
    assert torch.allclose(ema.shadow[0].double(), expected, atol=1e-6)  # 30 roundings in float32
    assert torch.equal(live, history[-1])


def test_swapped_weights_come_back_bit_for_bit() -> None:
    live = torch.tensor([0.1, 1.0 / 3.0])
    ema = Ema(lambda: [live], decay=0.5)
    live.copy_(torch.tensor([0.7, -1.0 / 7.0]))
    before = live.clone()
    with ema.swapped():
        assert torch.equal(live, torch.tensor([0.1, 1.0 / 3.0]))
    assert torch.equal(live, before)
    assert torch.equal(ema.shadow[0], torch.tensor([0.1, 1.0 / 3.0]))


def test_the_shadow_is_float32_of_lower_precision_weights() -> None:
    live = torch.ones(3, dtype=torch.bfloat16)
    ema = Ema(lambda: [live], decay=0.999)
    live.mul_(2.0)
    for _ in range(10):
        ema.update()
    # 10 steps of 0.001 are below bfloat16's resolution at 1 (0.0078), float32 keeps them
    assert torch.allclose(ema.shadow[0], torch.full((3,), 2.0 - 0.999**10), atol=1e-6)
