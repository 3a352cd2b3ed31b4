"""The CUDA backend: both backends follow gsplat's conventions, checked without a GPU, and with one where there is."""

from __future__ import annotations

import inspect
import math
from typing import Any

import gsplat
import pytest
import torch
from gsplat.cuda._torch_impl import _fully_fused_projection, _quat_scale_to_covar_preci
from torch import Tensor

from gvf.errors import UserError
from gvf.rendering import cpu_backend, gsplat_backend
from gvf.rendering.cpu_projection import RECORD
from gvf.rendering.rasterize import rasterize
from gvf.rendering.view import Scene, View

SIGNATURE = inspect.signature(gsplat.rasterization)


def a_batch(count: int = 60) -> Scene:
    """Two scenes of two cameras each."""
    generator = torch.Generator().manual_seed(0)
    viewmats = torch.eye(4).repeat(2, 2, 1, 1)
    viewmats[..., 2, 3] = torch.tensor([[1.5, 2.0], [2.5, 1.0]])
    viewmats[:, 1, :3, :3] = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
    Ks = torch.tensor([[1.1, 0, 0.5], [0, 1.3, 0.45], [0, 0, 1]]).repeat(2, 2, 1, 1)
    return Scene(
        means=0.4 * torch.randn(2, count, 3, generator=generator),
        quats=torch.randn(2, count, 4, generator=generator),
        scales=torch.exp(0.7 * torch.randn(2, count, 3, generator=generator) - 2.5),
        opacities=torch.rand(2, count, generator=generator),
        colors=torch.rand(2, count, 3, generator=generator),
        viewmats=viewmats,
        Ks=Ks,
        background=torch.tensor([1.0, 0.5, 0.25]),
    )


def in_pixels(Ks: Tensor, width: int, height: int) -> Tensor:
    return Ks * torch.tensor([width, height, 1.0])[:, None]


def test_our_projection_is_gsplat_s() -> None:
    batch = a_batch()
    view = View(50, 40, 0.01, 100.0, 0.1, True)
    gaussians = tuple(tensor.numpy() for tensor in batch[:5])
    binned = cpu_backend._bin(gaussians, batch.viewmats.flatten(0, 1).numpy(), batch.Ks.flatten(0, 1).numpy(), view)
    records = torch.from_numpy(binned.records).view(2, 2, -1, RECORD)
    drawn = torch.from_numpy(binned.num_tiles).view(2, 2, -1) > 0
    exact = Scene(*(tensor.double() for tensor in batch))
    covars, _ = _quat_scale_to_covar_preci(exact.quats, exact.scales, True, False, False)
    _, means, depths, conics, compensations = _fully_fused_projection(
        exact.means, covars, exact.viewmats, in_pixels(exact.Ks, 50, 40), 50, 40, eps2d=0.1, calc_compensations=True,
    )  # fmt: skip
    assert drawn.float().mean() > 0.5
    expected = torch.cat(
        [
            means,
            -0.5 * conics[..., :1] / math.log(2),
            -conics[..., 1:2] / conics[..., :1],
            -0.5 * (conics[..., 2:] - conics[..., 1:2] ** 2 / conics[..., :1]) / math.log(2),
            torch.log2(exact.opacities[:, None] * compensations)[..., None],
            depths[..., None],
        ],
        dim=-1,
    )
    torch.testing.assert_close(records[drawn][:, :7].double(), expected[drawn], rtol=1e-5, atol=1e-5)


def _stand_in(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor, *rest: Any, **kw: Any
) -> Any:
    """gsplat.rasterization by its own torch projection and a plain sum, for the options the backend uses."""
    call = SIGNATURE.bind(means, quats, scales, opacities, colors, *rest, **kw)
    call.apply_defaults()
    given = call.arguments
    width, height = given["width"], given["height"]
    assert given["packed"] is False
    assert given["render_mode"] == "RGB+ED"
    covars, _ = _quat_scale_to_covar_preci(quats, scales, True, False, False)
    _, centres, depths, conics, compensations = _fully_fused_projection(
        means, covars, given["viewmats"], given["Ks"], width, height, given["eps2d"], given["near_plane"],
        given["far_plane"], calc_compensations=True,
    )  # fmt: skip
    opacity = opacities[:, None] * (compensations if given["rasterize_mode"] == "antialiased" else 1)
    visible = (depths >= given["near_plane"]) & (depths <= given["far_plane"])
    order = depths.argsort(-1)
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    delta_x = columns - centres[..., 0, None, None]
    delta_y = rows - centres[..., 1, None, None]
    a, b, c = (conics[..., i, None, None] for i in range(3))
    alpha = opacity[..., None, None] * torch.exp(-0.5 * (a * delta_x**2 + c * delta_y**2) - b * delta_x * delta_y)
    alpha = (alpha * visible[..., None, None]).clamp_max(0.999)
    alpha = (alpha * (alpha >= 1 / 255)).take_along_dim(order[..., None, None], 2)
    after = (1 - alpha).cumprod(2)
    weight = alpha * torch.cat([torch.ones_like(after[:, :, :1]), after[:, :, :-1]], 2) * (after > 1e-4)
    everything = torch.cat([colors[:, None].expand(-1, 2, -1, -1), depths[..., None]], -1)
    image = torch.einsum("bcnhw,bcnk->bchwk", weight, everything.take_along_dim(order[..., None], 2))
    total = weight.sum(2)[..., None]
    backgrounds = given["backgrounds"]
    assert backgrounds.shape == (2, 2, 3)
    rgb = image[..., :3] + (1 - total) * backgrounds[:, :, None, None]
    return torch.cat([rgb, image[..., 3:] / total.clamp_min(1e-10)], -1), total, {}


@pytest.mark.parametrize("compensate", [False, True])
def test_the_call_to_gsplat_means_what_the_cpu_backend_draws(monkeypatch: pytest.MonkeyPatch, compensate: bool) -> None:
    monkeypatch.setattr(gsplat, "rasterization", _stand_in)
    view = View(33, 40, 0.3, 2.2, 0.1, compensate)
    found = gsplat_backend.draw(a_batch(), view)
    expected = cpu_backend.draw(a_batch(), view)
    for ours, theirs in zip(found, expected):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() < 1e-3  # a pixel at a threshold may fall on either side in float32
        assert (ours - theirs).abs().mean() < 1e-6


@pytest.mark.parametrize("draw", [cpu_backend.draw, gsplat_backend.draw])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", Scene._fields)
def test_both_backends_refuse_values_that_are_not_finite_by_name(draw: Any, name: str, value: float) -> None:
    batch = a_batch()
    broken = getattr(batch, name).clone()
    broken.view(-1)[-1] = value
    with pytest.raises(UserError, match=f"{name}: not finite"):
        draw(batch._replace(**{name: broken}), View(8, 8, 0.01, 100.0, 0.3, False))


@pytest.mark.parametrize("draw", [cpu_backend.draw, gsplat_backend.draw])
def test_both_backends_refuse_directions_and_lenses_that_are_none(draw: Any) -> None:
    batch = a_batch()
    view = View(8, 8, 0.01, 100.0, 0.3, False)
    with pytest.raises(UserError, match="quaternion of length zero"):
        draw(batch._replace(quats=0 * batch.quats), view)
    with pytest.raises(UserError, match="focal length"):
        draw(batch._replace(Ks=-batch.Ks), view)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU and gsplat's compiled kernels")
@pytest.mark.parametrize("compensate", [False, True])
def test_both_backends_agree_on_a_gpu(compensate: bool) -> None:
    outcomes = []
    for device in ("cpu", "cuda"):
        tensors = {name: tensor.to(device).requires_grad_() for name, tensor in a_batch(2000)._asdict().items()}
        tensors["Ks"] = tensors["Ks"].detach()
        views = rasterize(**tensors, width=100, height=90, low_pass=0.1, compensate=compensate)
        (views.rgb.square().sum() + views.alpha.sum() + (views.depth * views.alpha).sum()).backward()
        grads = [tensor.grad.cpu() for tensor in tensors.values() if tensor.grad is not None]
        outcomes.append(([views.rgb.cpu(), views.alpha.cpu(), views.depth.cpu()], grads))
    for ours, theirs in zip(*(images for images, _ in outcomes)):
        assert (ours - theirs).abs().mean() < 1e-5
    for ours, theirs in zip(*(grads for _, grads in outcomes)):
        assert (ours - theirs).norm() < 1e-2 * theirs.norm()
