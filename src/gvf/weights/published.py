"""Published weights of any kind to our modules and back, under their own names, shapes and precisions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gvf.config.load import as_dict
from gvf.errors import UserError
from gvf.models.layers.precision import BlockNetwork, set_block_dtype
from gvf.models.network_folder import StoredNetwork
from gvf.storage.files import PathLike, atomic_path, save_tensors
from gvf.weights import canonical_layouts, flow_layouts, variation_layouts
from gvf.weights.catalog import published_sizes
from gvf.weights.layout import Layout
from gvf.weights.loading import load_as, named_as_published

LAYOUTS: Mapping[str, Layout] = {
    layout.kind: layout
    for layout in (
        variation_layouts.VARIATION_VAE,
        variation_layouts.DIT,
        canonical_layouts.STATIC_VAE,
        canonical_layouts.SLAT_GS_DECODER,
        canonical_layouts.SLAT_ENCODER,
        flow_layouts.SLAT_FLOW,
        flow_layouts.SS_FLOW,
        flow_layouts.SS_DECODER,
    )
}


def load_published(path: PathLike, kind: str, overrides: Mapping[str, Any] | None = None) -> nn.Module:
    """Return the module of published weights in eval mode, on the CPU.

    kind: a name of the catalog that has sizes. path, overrides: as in `load_as`. Raises UserError that names the file,
    the first key that does not fit and why.
    """
    return load_as(path, _layout(kind), overrides)


def save_published(module: nn.Module, path: PathLike, kind: str) -> None:
    """Write a module under the published names, each tensor as the module has it.

    path: .safetensors, or .pt for a plain dict of torch.save. Raises UserError for another suffix or another class of module.
    """
    path = Path(path)
    tensors = published_state(module, kind)
    if path.suffix == ".safetensors":
        save_tensors(path, tensors)
    elif path.suffix == ".pt":
        with atomic_path(path) as partial:
            torch.save({name: tensor.cpu() for name, tensor in tensors.items()}, partial)
    else:
        raise UserError(f"{path}: must end in .safetensors or .pt.")


def published_state(module: nn.Module, kind: str) -> dict[str, Tensor]:
    """Return the module's state dict under the published names."""
    return named_as_published(module, _layout(kind))


def build_published(kind: str, **changes: Any) -> nn.Module:
    """Return a module of the published sizes and precisions with new weights.

    changes: sizes that differ. Under `torch.device("meta")` it takes no memory.
    """
    sizes = published_sizes(kind) | changes
    module = LAYOUTS[kind].build(sizes)
    if isinstance(module, BlockNetwork):
        set_block_dtype(module, torch.float16)
    return module


def sizes_of(module: nn.Module, kind: str) -> dict[str, Any]:
    """Return the sizes from which `build_published` makes a module of the same shape. kind: of the module."""
    if not isinstance(module, _layout(kind).module):
        raise UserError(f"kind {kind} is a {_layout(kind).module.__name__}, not a {type(module).__name__}.")
    return module.sizes() if isinstance(module, StoredNetwork) else as_dict(module.config)


def _layout(kind: str) -> Layout:
    published_sizes(kind)  # raises UserError, which lists the kinds, for any other name
    return LAYOUTS[kind]
