"""Weights of a generator stored in half the space: float16, which loading converts back to float32."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.models.network_folder import CONFIG_NAME, WEIGHTS_NAME
from gvf.pipelines.generator_folder import NETWORKS
from gvf.storage.files import PathLike, save_tensors
from gvf.storage.tensor_files import read_state
from gvf.text import clean

_LARGEST = torch.finfo(torch.float16).max


def copy_networks_halved(source: PathLike, target: PathLike, names: tuple[str, ...] = NETWORKS) -> None:
    """Copy the two files of each named network with weights as float16. Raises UserError for a value that float16 cannot hold."""
    for name in names:
        path = Path(source) / name / WEIGHTS_NAME
        (Path(target) / name).mkdir(parents=True, exist_ok=True)
        halved = {key: _half(value, key, path) for key, value in sorted(read_state(path).items())}
        save_tensors(Path(target) / name / WEIGHTS_NAME, halved)
        shutil.copyfile(Path(source) / name / CONFIG_NAME, Path(target) / name / CONFIG_NAME)


def _half(tensor: Tensor, name: str, path: Path) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    if not bool((tensor.abs() <= _LARGEST).all()):
        raise UserError(
            f"{path}: tensor {clean(name, 120)} has a value beyond {_LARGEST:g}, which float16 cannot hold. Export without "
            "--half."
        )
    return tensor.half()
