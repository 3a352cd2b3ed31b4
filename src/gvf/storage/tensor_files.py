"""Read safetensors and torch.save files whatever their name; code in them is refused, never run."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.storage.files import PathLike
from gvf.storage.recognition import PICKLE_REMEDY, Container, require_container
from gvf.text import clean

_TOO_LARGE = "needs more memory than there is: it is damaged, or too large for this machine."


def read_content(path: PathLike) -> Any:
    """Read a file to the CPU: tensors by name, or whatever mappings, lists and numbers were passed to torch.save.

    Values of tensors are read from the file only when they are used, except from torch.save's old format. Raises
    UserError, saying what the file is and what to do, when it is missing, damaged, in another format, or holds
    code.
    """
    path = Path(path)
    container = require_container(path)
    return _read_safetensors(path) if container is Container.SAFETENSORS else _read_torch(path, container)


def read_state(path: PathLike) -> dict[str, Tensor]:
    """Read a file that holds only a state dict: name -> tensor. Raises UserError as `read_content`, or for other content."""
    content = read_content(path)
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: contains a {type(content).__name__}, not tensors by name. Name a file of weights.")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path}: contains no tensors; its entries are {listed(content)}. Name a file of weights.")
    return {name: usable(tensor, name, path) for name, tensor in tensors.items()}


def without_values(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of the same shapes and types on the meta device, for which nothing is read."""
    return {name: tensor.to("meta") for name, tensor in tensors.items()}


def usable(tensor: Tensor, name: str, path: PathLike) -> Tensor:
    """Return the tensor detached. Raises UserError unless it is dense and has data."""
    if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        kind = "without data" if tensor.is_meta else "quantized" if tensor.is_quantized else "sparse or nested"
        raise UserError(
            f"{path}: tensor {clean(name, 120)} is {kind}; only dense tensors are read. Save it as a dense tensor."
        )
    return tensor.detach()


def listed(content: Mapping[Any, Any]) -> str:
    """Return the first names of a mapping, for messages."""
    names = ", ".join(clean(str(name), 60) for name in list(content)[:8])
    return (names + (", ..." if len(content) > 8 else "")) or "nothing"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except MemoryError:
        raise
    except Exception as error:  # a malformed header raises many kinds of errors, all caused by the file
        raise UserError(f"{path}: a damaged safetensors file ({clean(str(error), 200)}). Fetch it again.") from None


def _read_torch(path: Path, container: Container) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickle protocols; unreadable files fail below
            return torch.load(path, map_location="cpu", weights_only=True, mmap=container is Container.TORCH)
    except MemoryError:
        raise UserError(f"{path}: {_TOO_LARGE}") from None
    except Exception as error:  # torch's own message would advise letting the file run its code
        message = str(error)
    if (code := re.search(r"GLOBAL ([\w.]+)", message)) or re.search("Unsupported (class|type)|reduce", message):
        what = f" ({clean(code[1], 120)})" if code else ""
        raise UserError(f"{path}: a pickle with code{what}, {PICKLE_REMEDY}")
    if "Unsupported operand" in message:
        raise UserError(
            f"{path}: written with a pickle protocol that cannot be read safely. Save it with torch.save's default protocol."
        )
    if "allocate memory" in message or "out of memory" in message:
        raise UserError(f"{path}: {_TOO_LARGE}")
    size = path.stat().st_size
    if container is Container.TORCH_LEGACY:
        raise UserError(
            f"{path}: cut short ({size} bytes; fetch it again) or damaged: {container.value} that ends too early."
        )
    raise UserError(f"{path}: damaged ({size} bytes; fetch it again): {container.value} that cannot be read.")
