"""Metrics against scikit-image, closed forms and their packages; absences where weights are missing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gvf.errors import UserError
from gvf.metrics import clip, fvd, lpips
from gvf.metrics.absence import Absence
from gvf.metrics.psnr import psnr
from gvf.metrics.ssim import ssim
from gvf.published_files import I3D, VGG16


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that stands for all places where weights are looked for."""
    for name in ("GVF_WEIGHTS", "TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def pictures(count: int = 3, height: int = 40, width: int = 56) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, height // 8, width // 8, generator=generator)
    one = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1).movedim(1, -1)
    return one, (one + 0.1 * torch.randn(one.shape, generator=generator)).clamp(0, 1)


def test_psnr_and_ssim_agree_with_scikit_image() -> None:
    one, other = pictures()
    assert psnr(one, other).shape == ssim(one, other).shape == (3,)
    for index in range(3):
        a, b = one[index].double().numpy(), other[index].double().numpy()
        assert float(psnr(one, other)[index]) == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1), abs=1e-3)
        # scikit-image leaves 5 border pixels out; torchmetrics mirrors the picture there and counts all of it.
        mirrored = [np.pad(image, ((5, 5), (5, 5), (0, 0)), mode="reflect") for image in (a, b)]
        expected = structural_similarity(
            *mirrored, channel_axis=-1, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert float(ssim(one, other)[index]) == pytest.approx(expected, abs=1e-4)


def test_psnr_by_hand() -> None:
    black = torch.zeros(1, 16, 16, 3)
    assert float(psnr(black + 0.1, black)) == pytest.approx(20.0, abs=1e-4)
    assert float(psnr(black, black)) == math.inf


def test_missing_weights_are_stated_absences(weights: Path) -> None:
    one, other = pictures()
    found = (lpips.lpips(one, other), clip.clip_similarity(one, other), fvd.fvd(one[None], other[None]))
    for absent, module, file in zip(found, (lpips, clip, fvd), ("vgg16-397923af.pth", "clip-vit", "i3d_torchscript")):
        assert isinstance(absent, Absence)
        assert absent == module.absence()
        assert file in absent.reason
        assert "GVF_WEIGHTS" in absent.remedy
        assert absent.metric in str(absent)
    with pytest.raises(UserError, match=r"vgg16.*GVF_WEIGHTS"):
        lpips.lpips_distance(one, other)


def test_lpips_is_the_package_s_own(weights: Path) -> None:
    import torchvision
    from torchmetrics.functional.image.lpips import _LPIPS

    torch.manual_seed(0)
    backbone = torchvision.models.vgg16(weights=None)
    state = {name: value for name, value in backbone.state_dict().items() if name.startswith("features.")}
    torch.save(state, weights / VGG16.name)
    peer = _LPIPS(pretrained=True, net="vgg", pnet_rand=True)
    for block in peer.net.children():
        for index, layer in block.named_children():
            layer.load_state_dict(backbone.features[int(index)].state_dict())
    one, other = pictures(height=32, width=48)
    expected = peer.eval()(one.movedim(-1, 1), other.movedim(-1, 1), normalize=True).flatten()
    found = lpips.lpips(one, other)
    assert isinstance(found, torch.Tensor)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    tracked = other[0].clone().requires_grad_()
    lpips.lpips_distance(tracked, one[0]).backward()
    assert tracked.grad is not None
    assert tracked.grad.abs().max() > 0
    assert float(lpips.lpips_distance(one[0], one[0])) == 0


def test_lpips_refuses_another_network(weights: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, weights / VGG16.name)
    with pytest.raises(UserError, match="not torchvision's VGG16"):
        lpips.lpips(*pictures())


def test_clip_similarity_of_a_small_model(weights: Path) -> None:
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8,
        projection_dim=16,
    )  # fmt: skip
    folder = weights / "clip-vit-base-patch32"
    model = CLIPVisionModelWithProjection(config).eval()
    model.save_pretrained(folder)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    one, other = pictures(height=48, width=48)
    found = clip.clip_similarity(one, other)
    assert isinstance(found, torch.Tensor)
    with torch.no_grad():
        embeddings = [
            model(**processor(images=[np.uint8(np.round(p.numpy() * 255)) for p in images], return_tensors="pt"))
            for images in (one, other)
        ]
        expected = torch.cosine_similarity(*(output.image_embeds for output in embeddings))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    same = clip.clip_similarity(one, one)
    assert isinstance(same, torch.Tensor)
    torch.testing.assert_close(same, torch.ones(3))


def test_frechet_distance_in_closed_form() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 5, generator=generator, dtype=torch.float64)
    assert fvd.frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert fvd.frechet_distance(features, features + 3) == pytest.approx(45)  # a shift: |m1 - m2|^2
    scaled = fvd.frechet_distance(features - features.mean(0), 2 * (features - features.mean(0)))
    assert scaled == pytest.approx(float(torch.trace(torch.cov(features.T))))  # (2 - 1)^2 of every variance
    few = torch.randn(4, 50, generator=generator, dtype=torch.float64)  # fewer videos than features
    root = np.linalg.eigvals(np.cov(few.T.numpy()) @ np.cov(few.flip(1).T.numpy())).real.clip(0) ** 0.5
    expected = float((few.mean(0) - few.flip(1).mean(0)).square().sum()) + 2 * np.trace(np.cov(few.T)) - 2 * root.sum()
    assert fvd.frechet_distance(few, few.flip(1)) == pytest.approx(expected, rel=1e-4)


class _Stand(torch.nn.Module):
    """Takes the same arguments as the published network; its features are the means of the channels."""

    def forward(self, videos: torch.Tensor, rescale: bool, resize: bool, return_features: bool) -> torch.Tensor:
        assert videos.shape[-1] == 224
        return videos.mean(dim=(2, 3, 4))


def test_fvd_through_a_scripted_network(weights: Path) -> None:
    torch.jit.script(_Stand()).save(str(weights / I3D.path))
    videos = torch.rand(4, 10, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    assert fvd.fvd(videos, videos) == pytest.approx(0, abs=1e-9)
    found = fvd.fvd(videos, 0.5 * videos)
    features = 2 * videos.mean((1, 2, 3)) - 1
    assert found == pytest.approx(fvd.frechet_distance(features, (features - 1) / 2), rel=1e-3)
    for short in (videos[:1], videos[:, :8]):
        assert isinstance(fvd.fvd(short, short), Absence)
