"""LPIPS on VGG16 (Zhang et al. 2018): the lpips package's linear weights on torchvision's published backbone."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.metrics.absence import Absence
from gvf.published_files import VGG16

MISSING = Absence(
    "lpips",
    f"{VGG16.name} (VGG16, ImageNet) is not on this machine",
    f"Run `gvf weights pull lpips`, or put {VGG16.url} into the folder that GVF_WEIGHTS names.",
)


def absence() -> Absence | None:
    """Why LPIPS cannot be measured here, or None when its backbone is there."""
    return None if VGG16.find() else MISSING


def lpips(prediction: Tensor, truth: Tensor) -> Tensor | Absence:
    """LPIPS of each picture, lower is nearer. prediction, truth: [P, H, W, 3] in [0, 1].

    Returns [P], or why there is none.
    """
    if VGG16.find() is None:
        return MISSING
    with torch.no_grad():
        pairs = zip(prediction.split(16), truth.split(16))  # VGG features of many large pictures would fill the memory
        return torch.cat([lpips_distance(*pair) for pair in pairs]) if len(prediction) else prediction.new_zeros(0)


def lpips_distance(rendered: Tensor, target: Tensor) -> Tensor:
    """The same with gradients, for losses (Eq. 8). rendered, target: [..., H, W, 3] in [0, 1]. Returns [...].

    Raises UserError when the backbone's weights are not on this machine.
    """
    path = VGG16.find()
    if path is None:
        raise UserError(str(MISSING))
    images = (image.float().flatten(0, -4).movedim(-1, 1) if image.ndim > 3 else image.float().movedim(-1, 0)[None]
              for image in (rendered, target))  # fmt: skip
    return _network(path, rendered.device)(*images, normalize=True).view(rendered.shape[:-3])


@cache
def _network(path: Path, device: torch.device) -> Any:
    import lpips as package

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torchvision's about the package's way of asking for no weights
        network = package.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        for block in network.net.children():
            for index, layer in block.named_children():
                layer.load_state_dict(
                    {name: state[f"features.{index}.{name}"] for name in layer.state_dict()}  # ReLUs have none
                )
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: not torchvision's VGG16 ({error}).") from None
    return network.to(device).eval().requires_grad_(False)
