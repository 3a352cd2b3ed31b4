"""Metrics against scikit-image, closed forms and their packages; absences where weights are missing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gvf.errors import UserError
from gvf.metrics import clip, fvd, lpips_network
from gvf.metrics.absence import Absence
from gvf.metrics.lpips import lpips
from gvf.metrics.metric import ImagePairs
from gvf.metrics.psnr import LARGEST_PSNR, psnr, psnr_object
from gvf.metrics.ssim import ssim, ssim_cropped


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that stands for all places where weights are looked for."""
    for name in ("GVF_WEIGHTS", "TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def image_pairs(count: int = 3, height: int = 40, width: int = 56) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, height // 8, width // 8, generator=generator)
    one = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1).movedim(1, -1)
    return one, (one + 0.1 * torch.randn(one.shape, generator=generator)).clamp(0, 1)


def test_psnr_and_ssim_agree_with_scikit_image() -> None:
    one, other = image_pairs()
    assert psnr(one, other).shape == ssim(one, other).shape == (3,)
    for index in range(3):
        a, b = one[index].double().numpy(), other[index].double().numpy()
        assert float(psnr(one, other)[index]) == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1), abs=1e-3)
        # scikit-image leaves 5 border pixels out; torchmetrics mirrors the image there and counts all of it.
        mirrored = [np.pad(image, ((5, 5), (5, 5), (0, 0)), mode="reflect") for image in (a, b)]
        expected = structural_similarity(
            *mirrored, channel_axis=-1, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert float(ssim(one, other)[index]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("data_range", [1.0, None])
def test_ssim_without_its_border_is_scikit_images_own(data_range: float | None) -> None:
    one, other = image_pairs()
    other = other * torch.tensor([1.0, 0.5, 0.2]).view(-1, 1, 1, 1)
    other[:, 0] = 0.0  # a false border, which only the inner windows' reach feels
    cropped, whole = ssim_cropped(one, other, data_range), ssim(one, other, data_range)
    for index in range(3):
        a, b = one[index].double().numpy(), other[index].double().numpy()
        expected = structural_similarity(
            a, b, channel_axis=-1, data_range=data_range or max(np.ptp(a), np.ptp(b)), gaussian_weights=True,
            sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        assert float(cropped[index]) == pytest.approx(expected, abs=1e-4)
        assert abs(float(cropped[index]) - float(whole[index])) > 1e-3


def test_ssim_without_its_border_is_the_mean_over_windows_inside() -> None:
    """Of 11 x 11 pixels one window is left, whose weighted moments are summed here by hand."""
    one, other = (images[:1, 4:15, 9:20, :] for images in image_pairs())
    offsets = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-offsets.square() / (2 * 1.5**2))
    window = (line[:, None] * line / line.sum() ** 2)[..., None]
    x, y = one[0].double(), other[0].double()
    mean_x, mean_y = ((window * image).sum((0, 1)) for image in (x, y))
    var_x, var_y = ((window * image.square()).sum((0, 1)) - m**2 for image, m in ((x, mean_x), (y, mean_y)))
    covariance = (window * x * y).sum((0, 1)) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    expected = (
        (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    )
    assert float(ssim_cropped(one, other)) == pytest.approx(float(expected.mean()), abs=1e-5)


def test_ranges_taken_from_the_images_themselves() -> None:
    """Without a range, PSNR takes that of each ground-truth image, SSIM the larger of the two, as torchmetrics and skimage do."""
    from torchmetrics.functional.image import peak_signal_noise_ratio as peer_psnr
    from torchmetrics.functional.image import structural_similarity_index_measure as peer_ssim

    one, other = (255 * images for images in image_pairs())
    one, other = one.round(), (other * torch.tensor([1.0, 0.5, 0.2]).view(-1, 1, 1, 1)).round()  # other ranges
    for index in range(3):
        pair = [images[index].movedim(-1, 0)[None] for images in (one, other)]
        own, others = (float(image.max() - image.min()) for image in pair)
        expected = float(peer_psnr(*pair, data_range=others))
        assert float(psnr(one, other, None)[index]) == pytest.approx(expected, abs=1e-4)
        a, b = one[index].double().numpy(), other[index].double().numpy()
        assert expected == pytest.approx(peak_signal_noise_ratio(b, a, data_range=others), abs=1e-4)
        assert float(ssim(one, other, None)[index]) == pytest.approx(float(peer_ssim(*pair)), abs=1e-5)
        mirrored = [np.pad(image, ((5, 5), (5, 5), (0, 0)), mode="reflect") for image in (a, b)]
        expected = structural_similarity(
            *mirrored, channel_axis=-1, data_range=max(own, others), gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )  # fmt: skip
        assert float(ssim(one, other, None)[index]) == pytest.approx(expected, abs=1e-4)


def test_a_ground_truth_image_of_one_colour_has_no_range() -> None:
    blank, other = torch.full((1, 16, 16, 3), 255.0), torch.zeros(1, 16, 16, 3)
    assert not torch.isfinite(psnr(other, blank, None)).any()


def test_psnr_by_hand() -> None:
    black = torch.zeros(1, 16, 16, 3)
    assert float(psnr(black + 0.1, black)) == pytest.approx(20.0, abs=1e-4)
    assert float(psnr(black, black)) == math.inf


def test_psnr_of_the_object_by_hand() -> None:
    """Four pixels, two of them the object's; errors elsewhere do not count, an empty mask has no value."""
    ground_truth = torch.ones(3, 2, 2, 3)
    foreground = torch.tensor([[[True, False], [False, True]]]).repeat(3, 1, 1)
    foreground[2] = False
    prediction = ground_truth.clone()
    prediction[:, 0, 1] = 0.0  # background
    prediction[0, 0, 0] = 0.9
    prediction[0, 1, 1] = 0.7
    values = psnr_object(ImagePairs(prediction, ground_truth, foreground))
    assert isinstance(values, torch.Tensor)
    assert float(values[0]) == pytest.approx(-10 * math.log10((0.1**2 + 0.3**2) / 2), abs=1e-4)  # 13.01 dB
    assert float(values[1]) == LARGEST_PSNR
    assert math.isnan(float(values[2]))
    absent = psnr_object(ImagePairs(prediction, ground_truth))
    assert isinstance(absent, Absence)
    assert "no alpha channel" in absent.reason
    assert "RGBA" in absent.remedy


@pytest.mark.parametrize("data_range", [1.0, None])
def test_psnr_of_the_object_is_numpys(data_range: float | None) -> None:
    one, other = image_pairs()
    other = other * torch.tensor([1.0, 0.5, 0.2]).view(-1, 1, 1, 1)
    foreground = torch.rand(one.shape[:3], generator=torch.Generator().manual_seed(1)) < 0.3
    values = psnr_object(ImagePairs(one, other, foreground, data_range=data_range))
    assert isinstance(values, torch.Tensor)
    for index in range(3):
        a, b = one[index].double().numpy(), other[index].double().numpy()
        chosen = foreground[index].numpy()
        error = np.mean((a[chosen] - b[chosen]) ** 2)
        expected = 10 * np.log10((data_range or np.ptp(b)) ** 2 / error)
        assert float(values[index]) == pytest.approx(expected, abs=1e-9)


def test_missing_weights_are_stated_absences(weights: Path) -> None:
    one, other = image_pairs()
    found = {
        "lpips": (lpips(one, other), lpips_network.absence(), "vgg16-397923af.pth"),
        "lpips_alex": (lpips(one, other, "alex"), lpips_network.absence("alex"), "alexnet-owt-7be5be79.pth"),
        "clip": (clip.clip_similarity(one, other), clip.absence(), "clip-vit-base-patch32"),
        "fvd": (fvd.absence(), fvd.MISSING, "i3d_pretrained_400.pt"),
    }
    for name, (absent, stated, file) in found.items():
        assert isinstance(absent, Absence)
        assert absent == stated
        assert absent.metric == name
        assert file in absent.reason
        assert "GVF_WEIGHTS" in absent.remedy
        assert name in str(absent)
    with pytest.raises(UserError, match=r"i3d_pretrained_400.*GVF_WEIGHTS"):
        fvd.video_logits(255 * one.numpy(), torch.device("cpu"))
    with pytest.raises(UserError, match=r"vgg16.*GVF_WEIGHTS"):
        lpips_network.lpips_distance(one, other)


@pytest.mark.parametrize("net", ["vgg", "alex"])
def test_lpips_of_the_package_and_of_torchmetrics_agree(net: str, weights: Path) -> None:
    """The same random backbone in both; the linear weights are published and come with both."""
    import torchvision
    from torchmetrics.functional.image.lpips import _LPIPS

    torch.manual_seed(0)
    backbone = {"vgg": torchvision.models.vgg16, "alex": torchvision.models.alexnet}[net](weights=None)
    state = {name: value for name, value in backbone.state_dict().items() if name.startswith("features.")}
    torch.save(state, weights / lpips_network.BACKBONES[net][0].name)
    peer = _LPIPS(pretrained=True, net=net, pnet_rand=True)
    for block in peer.net.children():
        for index, layer in block.named_children():
            layer.load_state_dict(backbone.features[int(index)].state_dict())
    one, other = image_pairs(height=64, width=72)
    expected = peer.eval()(one.movedim(-1, 1), other.movedim(-1, 1), normalize=True).flatten()
    found = lpips(one, other, net)
    assert isinstance(found, torch.Tensor)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    tracked = other[0].clone().requires_grad_()
    lpips_network.lpips_distance(tracked, one[0], net).backward()
    assert tracked.grad is not None
    assert tracked.grad.abs().max() > 0
    assert float(lpips_network.lpips_distance(one[0], one[0], net)) == 0


def test_lpips_refuses_another_network(weights: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, weights / lpips_network.BACKBONES["vgg"][0].name)
    with pytest.raises(UserError, match="not torchvision's VGG16"):
        lpips(*image_pairs())


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
    one, other = image_pairs(height=48, width=48)
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


def small_clip(folder: Path) -> None:
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8,
        projection_dim=8,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 605247071\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", POINTER, r"model\.safetensors: a Git LFS pointer of a file of 605,247,071 bytes"),
        ("model.safetensors", b"<html></html>", r"model\.safetensors: a web page"),
        ("config.json", b"<html></html>", r"config\.json: a web page, not JSON"),
        ("preprocessor_config.json", POINTER, r"preprocessor_config\.json: a Git LFS pointer .*not JSON"),
        ("preprocessor_config.json", None, r"clip-vit-base-patch32: lacks preprocessor_config\.json"),
        ("config.json", b'{"model_type": "clip_vision_model"}', r"clip-vit-base-patch32: not a CLIP model"),
    ],
)
def test_damaged_files_of_clip_are_named(weights: Path, name: str, content: bytes | None, message: str) -> None:
    folder = weights / "clip-vit-base-patch32"
    small_clip(folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    for call in (clip.require_weights, lambda: clip.clip_similarity(*image_pairs())):
        with pytest.raises(UserError, match=message) as caught:
            call()
        assert "weights_only" not in str(caught.value)


def test_clip_weights_of_another_network_are_not_made_up(weights: Path) -> None:
    """transformers itself warns of weights that a file lacks, and goes on with random ones."""
    from safetensors.torch import save_file

    folder = weights / "clip-vit-base-patch32"
    small_clip(folder)
    save_file({"other.weight": torch.ones(2)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"not a CLIP model: its weights lack .* and .* more"):
        clip.require_weights()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(
        UserError,
        match=r"pytorch_model\.bin: the content is a safetensors file, but the name is that of another format. Rename it",
    ):
        clip.require_weights()


def test_damaged_backbones_are_named(weights: Path) -> None:
    path = weights / lpips_network.BACKBONES["alex"][0].name
    for content, what in ((POINTER, "a Git LFS pointer"), (b"\x80\x02\x8a", "cut short"), (b"<html>", "a web page")):
        path.write_bytes(content)
        for call in (lambda: lpips_network.require_weights("alex"), lambda: lpips(*image_pairs(), "alex")):
            with pytest.raises(UserError, match=f"{path.name}: {what}"):
                call()
    lpips_network.require_weights("vgg")  # absent, which is no error
    fvd.require_weights()
