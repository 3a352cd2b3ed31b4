"""Activations, the two 14-channel orders, and their sum (upstream facts, section 2)."""

from __future__ import annotations

import math

import pytest
import torch

from gvf.errors import UserError
from gvf.gaussians.gaussians import GaussianActivation, Gaussians
from gvf.gaussians.sh import rgb_from_sh


def raw_gaussians(count: int = 50, seed: int = 0) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)
    return Gaussians(
        means=0.3 * torch.randn(count, 3, generator=generator),
        colors=torch.randn(count, 3, generator=generator),
        raw_scales=torch.randn(count, 3, generator=generator),
        raw_quats=0.5 * torch.randn(count, 4, generator=generator),
        raw_opacities=2 * torch.randn(count, generator=generator),
    )


def test_zero_raw_values_are_the_release_s_biases() -> None:
    zero = Gaussians(*(torch.zeros(1, width) for width in (3, 3, 3, 4)), torch.zeros(1))
    assert zero.scales.tolist()[0] == pytest.approx([math.hypot(0.004, 0.0009)] * 3, rel=1e-6)
    assert zero.quats.tolist() == [[1, 0, 0, 0]]
    assert zero.opacities.tolist() == pytest.approx([0.1])
    assert zero.rgb.tolist()[0] == [0.5] * 3


def test_activations_by_hand() -> None:
    coarse = GaussianActivation(scale_bias=0.016, filter_3d=0.002, opacity_bias=0.25)
    assert float(coarse.scales(torch.tensor(1.5))) == pytest.approx(
        math.hypot(math.log1p(math.exp(1.5 + math.log(math.expm1(0.016)))), 0.002), rel=1e-5
    )
    assert float(coarse.opacities(torch.tensor(-1.0))) == pytest.approx(1 / (1 + math.exp(1) * 3), rel=1e-5)
    quat = coarse.quats(torch.tensor([2.0, 4.0, 0.0, 0.0]))
    assert quat.tolist() == pytest.approx([0.6, 0.8, 0, 0])
    colours = torch.tensor([-3.0, 0.0, 1.0])
    assert rgb_from_sh(colours).tolist() == pytest.approx([0, 0.5, 0.5 + 0.5 / math.sqrt(math.pi)])


def test_activated_vectors_are_in_the_canonical_order_and_invert() -> None:
    gaussians = raw_gaussians()
    values = gaussians.to_activated14()
    assert values.shape == (50, 14)
    assert torch.equal(values[:, 0:3], gaussians.means)
    assert torch.equal(values[:, 3:6], gaussians.colors)
    assert torch.equal(values[:, 6], gaussians.opacities)
    assert torch.equal(values[:, 7:10], gaussians.scales)
    assert torch.equal(values[:, 10:14], gaussians.quats)
    back = Gaussians.from_activated14(values)
    torch.testing.assert_close(back.to_activated14(), values, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(back.raw_scales, gaussians.raw_scales, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(back.raw_opacities, gaussians.raw_opacities, atol=1e-4, rtol=1e-4)


def test_variations_are_in_their_own_order_and_meet_raw_values() -> None:
    gaussians = raw_gaussians()
    variation = 0.2 * torch.randn(4, 50, 14, generator=torch.Generator().manual_seed(1))
    varied = gaussians.vary(variation)
    assert varied.means.shape == (4, 50, 3)
    frame = varied[2]
    delta = variation[2]
    bias = math.log(math.expm1(0.004))
    torch.testing.assert_close(frame.means, gaussians.means + delta[:, 0:3])
    softplus = torch.log1p(torch.exp((gaussians.raw_scales + bias + delta[:, 3:6]).double()))
    torch.testing.assert_close(frame.scales.double(), (softplus**2 + 0.0009**2).sqrt(), atol=1e-8, rtol=1e-5)
    turned = gaussians.raw_quats + torch.tensor([1.0, 0, 0, 0]) + delta[:, 6:10]
    torch.testing.assert_close(frame.quats, turned / turned.norm(dim=-1, keepdim=True))
    torch.testing.assert_close(frame.colors, gaussians.colors + delta[:, 10:13])
    torch.testing.assert_close(frame.opacities, torch.sigmoid(gaussians.raw_opacities + math.log(1 / 9) + delta[:, 13]))


def test_no_variation_changes_nothing() -> None:
    gaussians = raw_gaussians()
    assert torch.equal(gaussians.vary(torch.zeros(50, 14)).to_activated14(), gaussians.to_activated14())


def test_padding_rows_stay_finite() -> None:
    padding = torch.zeros(3, 14)
    padding[:, 10] = 1
    restored = Gaussians.from_activated14(padding)
    assert restored.vary(torch.zeros(3, 14)).to_activated14().isfinite().all()
    assert float(restored.opacities.max()) < 1e-5


def test_gradients_reach_raw_values_and_bfloat16_is_activated_in_float32() -> None:
    gaussians = raw_gaussians()
    variation = torch.zeros(2, 50, 14, requires_grad=True)
    gaussians.vary(variation).to_activated14().square().sum().backward()
    assert variation.grad is not None
    assert variation.grad.abs().sum(dim=(0, 1)).gt(0).all()
    low = gaussians.map(lambda tensor: tensor.bfloat16())
    assert low.scales.dtype == low.quats.dtype == low.opacities.dtype == torch.float32


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="raw_quats"):
        Gaussians(torch.zeros(5, 3), torch.zeros(5, 3), torch.zeros(5, 3), torch.zeros(5, 3), torch.zeros(5))
    with pytest.raises(UserError, match="14"):
        Gaussians.from_activated14(torch.zeros(5, 13))
    with pytest.raises(UserError, match="variation of 50"):
        raw_gaussians().vary(torch.zeros(4, 49, 14))
    with pytest.raises(UserError, match="opacity_bias"):
        GaussianActivation(opacity_bias=1.0)
