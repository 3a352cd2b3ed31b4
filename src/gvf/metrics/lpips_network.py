"""The networks of LPIPS (Zhang et al. 2018): the lpips package's linear weights on torchvision's VGG16 or AlexNet.

It is separate from the metric, so that the training losses depend on this file alone.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gvf.errors import UserError
from gvf.metrics.absence import Absence
from gvf.storage.published_files import ALEXNET, VGG16
from gvf.text import clean

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# name of the network in the lpips package -> file and title of its backbone
BACKBONES = {"vgg": (VGG16, "VGG16"), "alex": (ALEXNET, "AlexNet")}


def missing(net: str = "vgg") -> Absence:
    """Return the absence of a metric whose backbone is not on this machine."""
    file, title = BACKBONES[net]
    return Absence(
        "lpips" if net == "vgg" else f"lpips_{net}",
        f"{file.name} ({title}, ImageNet) is not on this machine",
        f"Run `gvf weights pull lpips`, or put {file.url} into the folder that GVF_WEIGHTS names.",
    )


def find_weights(net: str = "vgg") -> Path | None:
    """Return the backbone's file on this machine, or None."""
    return BACKBONES[net][0].find()


def absence(net: str = "vgg") -> Absence | None:
    """Return why LPIPS cannot be measured on this machine, or None when its backbone is present."""
    return None if find_weights(net) else missing(net)


def require_weights(net: str = "vgg") -> None:
    """Check that the network loads. Raises UserError when its backbone is present but damaged, or another network's."""
    import torch

    if (path := find_weights(net)) is not None:
        _network(net, path, torch.device("cpu"))


def lpips_distance(rendered: Tensor, target: Tensor, net: str = "vgg") -> Tensor:
    """Return the LPIPS of each image, [...], with gradients for losses (Eq. 8). rendered, target: [..., H, W, 3] in [0, 1].

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

    from gvf.storage.tensor_files import read_state

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
