"""Published weights to our modules and back, for one kind whose layout is known."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gvf.errors import ConfigError, UserError
from gvf.models.layers.precision import BlockNetwork, set_block_dtype
from gvf.models.network_folder import CONFIG_NAME
from gvf.storage.files import PathLike, read_json
from gvf.storage.tensor_files import without_values
from gvf.weights.catalog import published_sizes
from gvf.weights.containers import read_tensors
from gvf.weights.layout import Layout, Shapes, recognize


def load_as(
    path: PathLike, layout: Layout, overrides: Mapping[str, Any] | None = None, *, headers_only: bool = False
) -> nn.Module:
    """Return the module of published weights in eval mode, on the CPU.

    path: as in `read_tensors`. layout: of the expected kind. Sizes come from the tensors' shapes; what they
    do not tell (heads without QK norm, window, ...) from `overrides`, else from a config.json of `gvf weights convert`
    beside the file, else from the published values. Matrices in the blocks of TRELLIS's networks stay in half precision
    where the file has them so; everything else becomes float32. headers_only: read no values; the module is then on the
    meta device, and everything else is checked. Raises UserError that names the file, the first key that does not fit and
    why.
    """
    kind = layout.kind
    defaults = published_sizes(kind)
    tensors = without_values(read_tensors(path)) if headers_only else read_tensors(path)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if layout.marker not in shapes:
        raise UserError(f"{path}: not a file of kind {kind}: {layout.marker} is missing. {_likely_cause(kind, shapes)}")
    inferred = _inferred(path, layout, shapes)
    sizes = defaults | _stored_sizes(path, kind) | inferred | _checked_overrides(path, kind, inferred, overrides or {})
    try:
        with torch.device("meta"):
            module = layout.build(sizes)
    except ConfigError as error:
        raise _impossible_size(path, kind, error, inferred) from None
    if isinstance(module, BlockNetwork):
        set_block_dtype(module, _dtype_of_blocks(module, layout, tensors))
    _refuse_misfits(path, layout, module, tensors)
    state = {name: tensors[layout.published_name(name)].to(value.dtype) for name, value in module.state_dict().items()}
    narrowed = [
        name
        for name, buffer in module.named_buffers()
        if tensors[layout.published_name(name)].dtype.itemsize < buffer.dtype.itemsize
    ]
    if (
        narrowed and not headers_only
    ):  # frequencies and the like: computed again rather than taken from a file that rounded them
        computed = dict(layout.build(sizes).named_buffers())
        state |= {name: computed[name] for name in narrowed}
    module.load_state_dict(state, assign=True)
    return module.eval()


def named_as_published(module: nn.Module, layout: Layout) -> dict[str, Tensor]:
    """Return the module's state dict under the published names. Raises UserError for another class of module."""
    if not isinstance(module, layout.module):
        raise UserError(f"kind {layout.kind} is a {layout.module.__name__}, not a {type(module).__name__}.")
    return {layout.published_name(name): tensor.detach() for name, tensor in module.state_dict().items()}


def _inferred(path: PathLike, layout: Layout, shapes: Shapes) -> dict[str, Any]:
    kind = layout.kind
    try:
        return layout.infer(shapes)
    except KeyError as error:
        name = error.args[0]
        raise UserError(f"{path}: kind {kind}: {name} is missing. {_likely_cause(kind, shapes)}") from None
    except (IndexError, ValueError, ZeroDivisionError):
        raise UserError(f"{path}: kind {kind}: a tensor has too few axes. {_likely_cause(kind, shapes)}") from None


def _stored_sizes(path: PathLike, kind: str) -> dict[str, Any]:
    """Return sizes from the config.json beside the file, where `gvf weights convert` wrote one for this kind."""
    path = Path(path)
    file = (path if path.is_dir() else path.parent) / CONFIG_NAME
    content = read_json(file) if file.is_file() else None
    if not isinstance(content, Mapping) or content.get("kind") != kind:
        return {}
    stored = content.get("sizes", {})
    if not isinstance(stored, Mapping):
        raise UserError(f"{file}: `sizes` must be a mapping of names to numbers. Convert the weights again.")
    known = published_sizes(kind)
    sizes = {name: value for name, value in stored.items() if name in known}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in sizes.items()}


def _checked_overrides(
    path: PathLike, kind: str, inferred: Mapping[str, Any], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    known = published_sizes(kind)
    for name, value in overrides.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Its sizes are {', '.join(known)}."
            raise UserError(f"overrides: kind {kind} has no {name!r}. {hint}")
        if name in inferred and inferred[name] != value:
            raise UserError(f"{path}: overrides say {name} is {value}, the file's tensors say {inferred[name]}.")
    return dict(overrides)


def _impossible_size(path: PathLike, kind: str, error: ConfigError, inferred: Mapping[str, Any]) -> UserError:
    name = error.key.rpartition(".")[2]
    remedy = "" if name in inferred else f" The tensors do not tell it: name {name} in overrides."
    return UserError(f"{path}: kind {kind}: {name} {error.message}{remedy}")


def _dtype_of_blocks(module: BlockNetwork, layout: Layout, tensors: Mapping[str, Tensor]) -> torch.dtype:
    """Return the precision of the file's matrices in blocks: half if the first of them is, else float32."""
    first = module.block_layers()[0].weight
    name = next(name for name, parameter in module.named_parameters() if parameter is first)
    found = tensors.get(layout.published_name(name))
    return found.dtype if found is not None and found.dtype in (torch.float16, torch.bfloat16) else torch.float32


def _refuse_misfits(path: PathLike, layout: Layout, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Raise UserError unless the file has exactly the module's tensors; the message has the first that does not fit."""
    kind = layout.kind
    wanted = {layout.published_name(name): tuple(value.shape) for name, value in module.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    missing = [name for name in wanted if name not in shapes]
    unexpected = [name for name in shapes if name not in wanted]
    misshapen = [name for name in wanted if name in shapes and shapes[name] != wanted[name]]
    if missing:
        rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{path}: kind {kind}: {missing[0]}{rest} missing. {_likely_cause(kind, shapes)}")
    if unexpected:
        rest = f" and {len(unexpected) - 1} more" if len(unexpected) > 1 else ""
        raise UserError(f"{path}: kind {kind}: {unexpected[0]}{rest} unexpected. {_likely_cause(kind, shapes)}")
    if misshapen:
        name = misshapen[0]
        found, expected = list(shapes[name]), list(wanted[name])
        raise UserError(
            f"{path}: kind {kind}: {name} has shape {found}, but the other tensors and sizes require {expected}. The "
            "file holds another variant, or a size given in overrides is wrong."
        )
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise UserError(f"{path}: kind {kind}: {name} is {tensor.dtype}, not a float. Quantized files do not load.")


def _likely_cause(kind: str, shapes: Shapes) -> str:
    other = recognize(shapes)
    if other is not None and other != kind:
        return f"Its keys are those of kind {other}."
    if other is None:
        return f"Its keys ({', '.join(list(shapes)[:3])}, ...) have the marks of no kind: a part of a file, or another network."
    return "The file is a part of a checkpoint, or of another version of the network."
