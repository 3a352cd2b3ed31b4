"""I3D (Carreira and Zisserman 2017), RGB stream: videos to logits of the 400 classes of Kinetics.

It is GoogLeNet (Szegedy et al. 2015, Table 1) with every filter inflated over time. Modules bear the names of the
published PyTorch weights, `i3d_pretrained_400.pt`. Two settings that the weights do not fix follow DisCo's scoring code,
which Consistent4D uses: batch norm's epsilon is 1e-3 (VideoGPT's copy of the network has 1e-5), and the last
pooling spans one time step (VideoGPT's two).
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gvf.errors import UserError
from gvf.storage.tensor_files import read_state
from gvf.text import clean

NUM_CLASSES = 400
_EPSILON = 1e-3
# Output channels of each module's branches: 1x1; 1x1 then 3x3; 1x1 then 3x3; 1x1 after pooling.
_INCEPTIONS = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# Pooling before a module: size and stride over (time, height, width).
_POOLINGS = {
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


class I3D(nn.Module):
    """The network. Use it in eval mode: what counts are the running statistics of the batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = ["Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3", *_INCEPTIONS]
        self.add_module("Conv3d_1a_7x7", _Unit(3, 64, size=7, stride=2))
        self.add_module("Conv3d_2b_1x1", _Unit(64, 64, size=1))
        self.add_module("Conv3d_2c_3x3", _Unit(64, 192, size=3))
        channels = 192
        for name, widths in _INCEPTIONS.items():
            self.add_module(name, _Inception(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.logits = nn.ModuleDict({"conv3d": nn.Conv3d(channels, NUM_CLASSES, 1)})

    def forward(self, videos: Tensor) -> Tensor:
        """Return the logits of videos [B, 3, T, 224, 224] in [-1, 1], averaged over time: [B, 400]."""
        for name in self.stages:
            if name in _POOLINGS:
                videos = _max_pool(videos, *_POOLINGS[name])
            videos = self.get_submodule(name)(videos)
        # The average over what is left of the image, the classifier and the average over time are all linear.
        return self.logits["conv3d"](videos.mean((2, 3, 4), keepdim=True)).flatten(1)


class _Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, size, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv3d(_padded(x, self.conv3d.kernel_size, self.conv3d.stride))))


class _Inception(nn.Module):
    """Four branches side by side."""

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = _Unit(inputs, widths[0], size=1)
        self.b1a, self.b1b = _Unit(inputs, widths[1], size=1), _Unit(widths[1], widths[2], size=3)
        self.b2a, self.b2b = _Unit(inputs, widths[3], size=1), _Unit(widths[3], widths[4], size=3)
        self.b3b = _Unit(inputs, widths[5], size=1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = _max_pool(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


def load_i3d(path: Path, device: torch.device) -> I3D:
    """Load the network with the published weights, in eval mode.

    Raises UserError when the file is damaged or holds other weights.
    """
    state = read_state(path)
    network = I3D()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path}: not I3D's state dict ({clean(str(error), 200)}).") from None
    return network.to(device).eval().requires_grad_(False)


def _max_pool(x: Tensor, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    # Padding with zeros is correct for a maximum, since the values come from a ReLU and are never negative.
    return F.max_pool3d(_padded(x, size, stride), size, stride)


def _padded(x: Tensor, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Return x with zeros around it so that ceil(length / stride) steps fit; an odd one goes behind (TensorFlow's SAME)."""
    pads: list[int] = []
    for length, reach, step in zip(x.shape[:1:-1], size[::-1], stride[::-1]):
        missing = max((math.ceil(length / step) - 1) * step + reach - length, 0)
        pads += [missing // 2, missing - missing // 2]
    return F.pad(x, pads)
