"""Tensors out of the files in which weights travel: safetensors, whole or in shards, and torch's own without code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.files import PathLike, read_json

WEIGHTS_NAME = "model.safetensors"
INDEX_SUFFIX = ".index.json"
PREFIX = "module."  # of modules that were saved inside a parallel wrapper

# Entries of training checkpoints that hold a state dict, the averaged weights first.
NESTED = (
    *("ema", "model_ema", "ema_model", "ema_state_dict", "params_ema"),
    *("state_dict", "model_state_dict", "model", "module", "params", "weights"),
)


def read_tensors(path: PathLike) -> dict[str, Tensor]:
    """Name -> tensor of a checkpoint, on the CPU, without `module.` in front of names.

    path: a .safetensors file, the .index.json of its shards, a .pt file, or a folder with `model.safetensors` or an index.
    Raises UserError when the file is missing, damaged, holds code, or holds no tensors.
    """
    path = _resolve(Path(path))
    if path.name.endswith(INDEX_SUFFIX):
        tensors = _read_shards(path)
    elif path.suffix == ".safetensors":
        tensors = _read_safetensors(path)
    else:
        tensors = _state_dict(_read_torch(path), path)
    return {_without_prefix(name): tensor for name, tensor in tensors.items()}


def read_single_tensor(path: PathLike) -> Tensor:
    """The tensor of a file that holds one, bare as torch.save writes it or under any name, on the CPU.

    Raises UserError as `read_tensors` does, and when there are several tensors.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        content = _read_torch(path)
        if isinstance(content, Tensor):
            return content.detach()
    tensors = read_tensors(path)
    if len(tensors) != 1:
        raise UserError(f"{path}: holds {len(tensors)} tensors ({', '.join(list(tensors)[:3])}, ...); expected one.")
    return next(iter(tensors.values()))


def _resolve(path: Path) -> Path:
    """The file to read. A folder stands for the weights in it, a name without file for its shards' index."""
    if path.is_dir():
        names = [path / WEIGHTS_NAME, *sorted(path.glob(f"*{INDEX_SUFFIX}"))]
        found = next((name for name in names if name.is_file()), None)
        if found is None:
            raise UserError(f"{path}: holds neither {WEIGHTS_NAME} nor an index (*{INDEX_SUFFIX}). Name the file.")
        return found
    index = path.with_name(path.name + INDEX_SUFFIX)
    if path.is_file() or not index.is_file():
        return path
    return index


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise _missing(path) from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: {_truncated(path)}, or not a safetensors file at all ({error}).") from None


def _read_shards(index: Path) -> dict[str, Tensor]:
    if not index.is_file():
        raise _missing(index)
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, Mapping) else None
    if not isinstance(weight_map, Mapping) or not weight_map:
        raise UserError(f"{index}: no index of shards, it has no `weight_map`.")
    tensors: dict[str, Tensor] = {}
    names = sorted(set(weight_map.values()))
    for number, name in enumerate(names, start=1):
        shard = index.parent / str(name)
        if not shard.is_file():
            raise UserError(f"{shard}: no such file, but {index.name} names it (shard {number} of {len(names)}).")
        tensors |= _read_safetensors(shard)
    for name, shard_name in weight_map.items():
        if name not in tensors:
            raise UserError(f"{index.parent / shard_name}: lacks {name}, which {index.name} promises. Fetch it again.")
    return tensors


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise _missing(path) from None
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, OSError) as error:
        message = str(error)
    if "TorchScript" in message:
        raise UserError(f"{path}: a TorchScript program, not a file of weights.")
    code = re.search(r"GLOBAL ([\w.]+)", message)
    with open(path, "rb") as file:
        plain_pickle = file.read(1) == b"\x80" and "Unsupported operand" in message  # newer than torch.save writes
    if code or plain_pickle:
        what = f" ({code[1]})" if code else ""
        raise UserError(
            f"{path}: a pickle with code{what}, refused, since loading it could run anything. Ask for a file of tensors, "
            "or make one where you trust it: torch.save({name: tensor}) or safetensors."
        )
    first_line = message.partition("\n")[0]
    raise UserError(f"{path}: {_truncated(path)}, or not a file of torch.save at all ({first_line}).")


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, which may lie in one of its entries."""
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}, not names with tensors.")
    for name in NESTED:
        if isinstance(content.get(name), Mapping):
            return _state_dict(content[name], path)
    tensors = {str(name): value.detach() for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        listed = ", ".join(str(name) for name in list(content)[:8]) or "nothing"
        raise UserError(f"{path}: holds no tensors; its entries are {listed}.")
    return tensors


def _without_prefix(name: str) -> str:
    while name.startswith(PREFIX):
        name = name.removeprefix(PREFIX)
    return name


def _missing(path: Path) -> UserError:
    return UserError(f"{path}: no such file. `gvf weights list` shows what is here and where the rest comes from.")


def _truncated(path: Path) -> str:
    size = path.stat().st_size if path.is_file() else 0
    return f"cut short ({size} bytes; fetch it again)"
