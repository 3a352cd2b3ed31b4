"""One network on disk: a folder with `model.safetensors` (its tensors) and `config.json` (its kind and sizes).

The files may come from anywhere, so nothing in them is trusted: no code is read, sizes must agree with the tensors,
and whatever does not fit is refused with a message that names the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from gvf.config.load import as_dict, parse
from gvf.errors import ConfigError, UserError
from gvf.storage.files import PathLike, save_tensors, write_json
from gvf.storage.tensor_files import read_state, without_values
from gvf.text import clean

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
_LARGEST_JSON = 1 << 20  # bytes
_LARGEST_SIZE = 1 << 20  # of any number in a network's sizes
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class StoredNetwork:
    """What `save_network` and `load_network` need of a network class.

    KIND: name of the network in `config.json`, the same as in `gvf weights list`. CONFIG: class of its `config`. FREE_SIZES:
    fields of it that may differ from those of a training's initial weights, since they change no tensor's shape and not what
    the tensors mean.
    """

    KIND: ClassVar[str]
    CONFIG: ClassVar[type]
    FREE_SIZES: ClassVar[frozenset[str]] = frozenset()
    config: Any

    def sizes(self) -> dict[str, Any]:
        """Return the plain values from which `from_sizes` builds a network of the same shape."""
        return as_dict(self.config)

    @classmethod
    def from_sizes(cls, sizes: Mapping[str, Any]) -> Any:
        """Build a network with new weights. Raises ConfigError for a missing, unknown or unusable size."""
        return cast(Any, cls)(parse(cls.CONFIG, dict(sizes), cls.KIND))


class _NetworkClass(Protocol):
    KIND: ClassVar[str]

    @classmethod
    def from_sizes(cls, sizes: Mapping[str, Any]) -> Any: ...


Network = TypeVar("Network", bound=_NetworkClass)


def save_network(network: Any, folder: PathLike) -> None:
    """Write a network's weights and sizes into a folder.

    network: a module that is also a StoredNetwork.
    """
    folder = Path(folder)
    save_tensors(folder / WEIGHTS_NAME, network.state_dict())
    write_json(folder / CONFIG_NAME, {"kind": network.KIND, "sizes": network.sizes()})


def load_network(network_class: type[Network], folder: PathLike, *, headers_only: bool = False) -> Network:
    """Return the network stored in a folder, in eval mode and on the CPU, with the precision that it was stored in.

    headers_only: read no values; the network is then on the meta device, and everything else is checked. Raises UserError
    when a file is missing or damaged, is of another kind, or does not fit the sizes.
    """
    folder = Path(folder)
    sizes = read_sizes(folder, network_class.KIND)
    tensors = read_state(folder / WEIGHTS_NAME)
    _refuse_absurd_sizes(folder / CONFIG_NAME, sizes, len(tensors))
    try:
        with torch.device("meta"):
            network = network_class.from_sizes(sizes)
    except ConfigError as error:
        raise UserError(f"{folder / CONFIG_NAME}: {error.key}: {error.message}") from None
    _refuse_misfits(folder / WEIGHTS_NAME, network, tensors)
    if headers_only:
        network.load_state_dict(without_values(tensors), assign=True)
    else:  # copies are aligned by torch's allocator, so that results do not depend on offsets in the file
        network.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)
    return network.eval()


def read_sizes(folder: PathLike, kind: str) -> dict[str, Any]:
    """Return the sizes in a folder's `config.json`. Raises UserError unless it describes a network of this kind."""
    path = Path(folder) / CONFIG_NAME
    content = read_small_json(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("sizes"), Mapping):
        raise UserError(f"{path}: does not describe a network: it needs the fields `kind` and `sizes`.")
    if content.get("kind") != kind:
        found = clean(str(content.get("kind")), 60)
        raise UserError(f"{path}: describes a network of kind {found!r}, where {kind!r} is expected.")
    return {str(name): value for name, value in content["sizes"].items()}


def read_small_json(path: PathLike) -> Any:
    """Return the content of a JSON file of at most 1 MiB. Raises UserError when it is missing, larger or not JSON."""
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise UserError(f"{path}: larger than 1 MiB, so it is not a description of a model. Fetch it again.")
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Copy the whole folder of the model.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({clean(str(error), 200)}).") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _refuse_absurd_sizes(path: Path, sizes: Mapping[str, Any], num_tensors: int) -> None:
    """Raise UserError for numbers that would make building the network endless, before it is built."""
    for name, value in sizes.items():
        if isinstance(value, int) and not isinstance(value, bool):
            limit = num_tensors if name == "num_layers" else _LARGEST_SIZE
            if value > limit:
                raise UserError(f"{path}: {name} is {value}, but the weights allow at most {limit}.")


def _refuse_misfits(path: Path, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Raise UserError unless the tensors are exactly those of the network; the message names the first that is not."""
    expected = network.state_dict()
    for problem, names in (("is missing", expected.keys() - tensors), ("is unexpected", tensors.keys() - expected)):
        if names:
            rest = f", as are {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(
                f"{path}: tensor {clean(min(names), 120)} {problem}{rest}. The weights do not belong to {CONFIG_NAME} "
                "beside them."
            )
    for name, tensor in expected.items():
        found = tensors[name]
        if found.shape != tensor.shape:
            raise UserError(
                f"{path}: tensor {name} has shape {list(found.shape)}, but {CONFIG_NAME} requires {list(tensor.shape)}."
            )
        if found.dtype not in _FLOATS or (found.dtype != tensor.dtype and found.dtype.itemsize != 2):
            raise UserError(f"{path}: tensor {name} is {found.dtype}, expected {tensor.dtype}.")
