"""Tensors from the layouts in which weights are published: one file, indexed shards, training checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from torch import Tensor

from gvf.errors import UserError
from gvf.storage.files import PathLike
from gvf.storage.recognition import recognize_file
from gvf.storage.tensor_files import listed, read_content, usable
from gvf.text import clean

WEIGHTS_NAME = "model.safetensors"
INDEX_SUFFIX = ".index.json"
PREFIX = "module."  # of modules that were saved inside a parallel wrapper
# Name components that torch.compile and FSDP insert where they wrap a module.
WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}

# Entries of training checkpoints that hold a state dict, the averaged weights first.
NESTED = (
    *("ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema", "params_ema", "shadow"),
    *("state_dict", "model_state_dict", "model", "module", "params", "weights"),
)
_MAX_DEPTH = 8  # nesting depth of such entries


def read_tensors(path: PathLike) -> dict[str, Tensor]:
    """Read a checkpoint to the CPU: name -> tensor, without the prefixes that parallel wrappers and torch.compile add.

    path: a safetensors or torch.save file under any name, the .index.json of its shards, or a folder with
    `model.safetensors`, an index or `pytorch_model.bin`. Raises UserError when the file is missing or damaged, holds
    code, or holds no tensors.
    """
    path = _resolve(Path(path))
    tensors = _read_shards(path) if path.name.endswith(INDEX_SUFFIX) else _state_dict(_read(path), path)
    cleaned: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = _plain_name(name)
        if plain in cleaned and not _equal(cleaned[plain], tensor):
            raise UserError(f"{path}: holds {clean(plain, 120)} twice, under two prefixes, with different values.")
        cleaned[plain] = tensor
    return cleaned


def read_single_tensor(path: PathLike) -> Tensor:
    """Read the single tensor of a file to the CPU, whether saved bare by torch.save or under any name.

    Raises UserError as `read_tensors` does, and when there are several tensors.
    """
    path = _resolve(Path(path))
    content = _read(path)
    if isinstance(content, Tensor):
        return usable(content, "of the file", path)
    tensors = _state_dict(content, path)
    if len(tensors) != 1:
        raise UserError(f"{path}: holds {len(tensors)} tensors ({', '.join(list(tensors)[:3])}, ...); expected one.")
    return next(iter(tensors.values()))


def _resolve(path: Path) -> Path:
    """Return the file to read: a folder stands for the weights in it, a missing file for the index of its shards."""
    if path.is_dir():
        names = [path / WEIGHTS_NAME, *sorted(path.glob(f"*{INDEX_SUFFIX}")), path / "pytorch_model.bin"]
        found = next((name for name in names if name.is_file()), None)
        if found is None:
            raise UserError(f"{path}: holds neither {WEIGHTS_NAME} nor an index (*{INDEX_SUFFIX}). Name the file.")
        return found
    index = path.with_name(path.name + INDEX_SUFFIX)
    return index if index.is_file() and not path.is_file() else path


def _read(path: Path) -> Any:
    if not path.is_file():
        raise _missing(path)
    return read_content(path)


def _read_shards(index: Path) -> dict[str, Tensor]:
    """Read the tensors of all shards that an index names."""
    weight_map = _weight_map(index)
    names = sorted(set(weight_map.values()))
    owners: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    for number, name in enumerate(names, start=1):
        shard = index.parent / name
        if not shard.is_file():
            raise UserError(f"{shard}: no such file, but {index.name} names it (shard {number} of {len(names)}).")
        for key, tensor in _state_dict(read_content(shard), shard).items():
            if key in owners and not _equal(tensors[key], tensor):
                raise UserError(f"{shard}: holds {clean(key, 120)}, as {owners[key]} does, with other values.")
            if key not in owners or weight_map.get(key) == name:
                owners[key], tensors[key] = name, tensor
    for key, name in weight_map.items():
        if owners.get(key) != name:
            elsewhere = f" ({owners[key]} holds it)" if key in owners else ""
            raise UserError(
                f"{index.parent / name}: lacks {clean(key, 120)}, which {index.name} promises{elsewhere}. Fetch it again."
            )
    return tensors


def _weight_map(index: Path) -> dict[str, str]:
    """Read an index: tensor -> shard. Raises UserError unless every shard is named as a file in the index's folder."""
    if not index.is_file():
        raise _missing(index)
    try:
        content = json.loads(index.read_bytes())
    except (ValueError, RecursionError):
        what = recognize_file(index).problem or "not an index of shards."
        raise UserError(f"{index}: not valid JSON: {what}") from None
    weight_map = content.get("weight_map") if isinstance(content, Mapping) else None
    if not isinstance(weight_map, Mapping) or not weight_map:
        found = f"its `weight_map` is a {type(weight_map).__name__}" if weight_map else "it has no `weight_map`"
        raise UserError(f"{index}: no index of shards, {found}. It must map names of tensors to names of files.")
    for key, name in weight_map.items():
        if not isinstance(name, str):
            raise UserError(
                f"{index}: `weight_map` gives {clean(key, 120)} a {type(name).__name__}, not a file's name."
            )
        parts = {*PurePosixPath(name).parts, *PureWindowsPath(name).parts}
        rooted = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor
        if not name or rooted or ".." in parts or "\0" in name:
            raise UserError(
                f"{index}: `weight_map` names the shard {clean(name, 120)!r}, which leaves its folder; refused."
            )
    return dict(weight_map)


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """Find the named tensors of a checkpoint, which may be nested in one of its entries.

    Entries without named tensors are skipped, such as that of torch_ema, which is a list of tensors.
    """
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}, not names with tensors.")
    tensors = _first_state(content, path, 0)
    if tensors:
        return tensors
    averages = content.get("ema", content)
    if isinstance(averages, Mapping) and _is_tensor_list(averages.get("shadow_params")):
        raise UserError(
            f"{path}: holds averaged weights as a list without names (of torch_ema), and nothing else. Copy them into the "
            "model where it was trained (`ema.copy_to()`), and save its state dict."
        )
    raise UserError(f"{path}: holds no tensors; its entries are {listed(content)}.")


def _first_state(content: Mapping[Any, Any], path: Path, depth: int) -> dict[str, Tensor]:
    """Return the named tensors of the first nested entry that has any, else the mapping's own; empty if it has none."""
    for name in NESTED if depth < _MAX_DEPTH else ():
        entry = content.get(name)
        found = _first_state(entry, path, depth + 1) if isinstance(entry, Mapping) else {}
        if any(tensor.ndim for tensor in found.values()):  # scalars alone are counters, e.g. of EMA updates
            return found
    return {str(key): usable(value, str(key), path) for key, value in content.items() if isinstance(value, Tensor)}


def _is_tensor_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value)


def _plain_name(name: str) -> str:
    """Remove a leading `module.` and the components that wrappers insert from a name."""
    parts = [part for part in name.split(".") if part not in WRAPPERS]
    while len(parts) > 1 and parts[0] == PREFIX[:-1]:
        parts = parts[1:]
    return ".".join(parts)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and bool((one == other).all())


def _missing(path: Path) -> UserError:
    return UserError(f"{path}: no such file. `gvf weights list` shows what is here and where the rest comes from.")
