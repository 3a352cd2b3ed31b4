"""The device that networks run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gvf.errors import ConfigError

if TYPE_CHECKING:
    import torch


def resolve_device(name: str) -> torch.device:
    """Return the device that `run.device` names; `auto` is CUDA where there is any, else the CPU.

    Raises ConfigError when it is `cuda` and torch finds no CUDA device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("run.device", "is cuda, but torch finds no CUDA device here. Set run.device to cpu or auto.")
    return torch.device(name)
