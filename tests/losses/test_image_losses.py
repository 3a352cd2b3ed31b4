"""L1 and SSIM against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from gvf.losses.image import l1, ssim, ssim_by_torch


def random_images(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    one = torch.rand(*shape, 3, generator=generator)
    return one, (one + 0.2 * torch.randn(*shape, 3, generator=generator)).clamp(0, 1)


def test_l1_is_a_mean_per_image() -> None:
    one, other = random_images(2, 4, 20, 30)
    assert l1(one, other).shape == (2, 4)
    assert float(l1(one, other)[1, 2]) == pytest.approx(
        np.abs(one[1, 2].numpy() - other[1, 2].numpy()).mean(), rel=1e-5
    )


@pytest.mark.parametrize("size", [(24, 31), (7, 40), (37, 32)])
def test_ssim_follows_its_definition(size: tuple[int, int]) -> None:
    one, other = random_images(2, *size)

    def local_mean(values: np.ndarray) -> np.ndarray:  # truncate=5 pixels at sigma 1.5
        return gaussian_filter(values, sigma=(1.5, 1.5, 0), truncate=3.4, mode="constant")

    for index in range(2):
        x, y = one[index].double().numpy(), other[index].double().numpy()
        mean_x, mean_y = local_mean(x), local_mean(y)
        xx, yy = local_mean(x * x) - mean_x**2, local_mean(y * y) - mean_y**2
        xy = local_mean(x * y) - mean_x * mean_y
        expected = ((2 * mean_x * mean_y + 1e-4) * (2 * xy + 9e-4)) / (
            (mean_x**2 + mean_y**2 + 1e-4) * (xx + yy + 9e-4)
        )
        assert float(ssim(one, other)[index]) == pytest.approx(expected.mean(), abs=1e-5)


def test_ssim_of_equals_is_one_and_its_gradient_is_right() -> None:
    one, other = (image[..., :12, :14, :] for image in random_images(15, 15))
    assert float(ssim(one, one)) == pytest.approx(1.0, abs=1e-6)
    tracked = other.clone().requires_grad_()
    ssim(tracked, one).backward()
    step = torch.zeros_like(other)
    step[5, 6, 1] = 1e-2
    difference = (ssim(other + step, one) - ssim(other - step, one)) / 2e-2
    assert tracked.grad is not None
    assert float(tracked.grad[5, 6, 1]) == pytest.approx(float(difference), rel=2e-2)


@pytest.mark.parametrize("shape", [(2, 3, 37, 32), (1, 7, 16), (16, 48)])
def test_the_kernels_agree_with_torch_and_so_do_their_gradients(shape: tuple[int, ...]) -> None:
    one, other = random_images(*shape)
    other[..., :5, :5, :] = 1.0  # flat parts, as the background
    one[..., :9, :7, :] = 1.0
    weights = torch.linspace(-1.0, 2.0, one[..., 0, 0, 0].numel()).view(one.shape[:-3])
    by_kernels, by_torch = (one.clone().requires_grad_() for _ in range(2))
    found, expected = ssim(by_kernels, other), ssim_by_torch(by_torch, other)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ssim(one, other), found.detach(), rtol=0.0, atol=0.0)  # without slopes
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    scale = float(by_torch.grad.abs().max())
    torch.testing.assert_close(by_kernels.grad, by_torch.grad, rtol=1e-3, atol=2e-5 * scale)
    in_target = other.clone().requires_grad_()
    ssim(one, in_target).sum().backward()
    assert in_target.grad is not None
    assert float(in_target.grad.abs().max()) > 0.0


def test_ssim_stays_in_float32_under_autocast() -> None:
    one, other = random_images(24, 24)
    plain = ssim(one, other)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ssim(one, other), plain)
