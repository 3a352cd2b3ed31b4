"""LPIPS (Zhang et al. 2018) on VGG16 or AlexNet: the lpips package's linear weights on torchvision's published backbones."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.metrics.absence import Absence
from gvf.storage.published_files import ALEXNET, VGG16
from gvf.storage.tensor_files import read_state
from gvf.text import clean

# name of the network in the lpips package -> file of its backbone, what it is called
BACKBONES = {"vgg": (VGG16, "VGG16"), "alex": (ALEXNET, "AlexNet")}
_BATCH = 16  # features of many large pictures would fill the memory


def missing(net: str = "vgg") -> Absence:
    """What is said where the backbone is not on this machine."""
    file, title = BACKBONES[net]
    return Absence(
        "lpips" if net == "vgg" else f"lpips_{net}",
        f"{file.name} ({title}, ImageNet) is not on this machine",
        f"Run `gvf weights pull lpips`, or put {file.url} into the folder that GVF_WEIGHTS names.",
    )


def find_weights(net: str = "vgg") -> Path | None:
    """The backbone's file on this machine."""
    return BACKBONES[net][0].find()


def absence(net: str = "vgg") -> Absence | None:
    """Why LPIPS cannot be measured here, or None when its backbone is there."""
    return None if find_weights(net) else missing(net)


def require_weights(net: str = "vgg") -> None:
    """Check that the network loads. Raises UserError when its backbone is present but damaged, or another network's."""
    if (path := find_weights(net)) is not None:
        _network(net, path, torch.device("cpu"))


def lpips(prediction: Tensor, truth: Tensor, net: str = "vgg") -> Tensor | Absence:
    """LPIPS of each picture, lower is nearer. prediction, truth: [P, H, W, 3] in [0, 1]. net: of `BACKBONES`.

    Returns [P], or why there is none.
    """
    if (gap := absence(net)) is not None:
        return gap
    with torch.no_grad():
        pairs = zip(prediction.split(_BATCH), truth.split(_BATCH))
        return torch.cat([lpips_distance(*pair, net) for pair in pairs]) if len(prediction) else prediction.new_zeros(0)


def lpips_distance(rendered: Tensor, target: Tensor, net: str = "vgg") -> Tensor:
    """The same with gradients, for losses (Eq. 8). rendered, target: [..., H, W, 3] in [0, 1]. Returns [...].

    Raises UserError when the backbone's weights are not on this machine.
    """
    path = find_weights(net)
    if path is None:
        raise UserError(str(missing(net)))
    images = (image.float().flatten(0, -4).movedim(-1, 1) if image.ndim > 3 else image.float().movedim(-1, 0)[None]
              for image in (rendered, target))  # fmt: skip
    return _network(net, path, rendered.device)(*images, normalize=True).view(rendered.shape[:-3])


@cache
def _network(net: str, path: Path, device: torch.device) -> Any:
    import lpips as package

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torchvision's about the package's way of asking for no weights
        network = package.LPIPS(net=net, pnet_rand=True, verbose=False)
    state = read_state(path)
    try:
        for block in network.net.children():
            for index, layer in block.named_children():
                layer.load_state_dict(
                    {name: state[f"features.{index}.{name}"] for name in layer.state_dict()}  # ReLUs have none
                )
    except (KeyError, RuntimeError) as error:
        lacking = f"it lacks {error}" if isinstance(error, KeyError) else clean(str(error), 200)
        raise UserError(f"{path}: not torchvision's {BACKBONES[net][1]} ({lacking}).") from None
    return network.to(device).eval().requires_grad_(False)
