"""Measure the memory that a forward pass takes besides its weights, without allocating any.

The pass runs on the meta device, whose tensors have shapes, precisions and lifetimes but no values; the bytes of
live tensors are added up.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

Module = TypeVar("Module", bound=nn.Module)


class _FusedAttention(TorchFunctionMode):
    """Keeps attention fused, as on real devices; on the meta device torch would allocate the table of all pairs."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*args, attn_mask=kwargs.get("attn_mask"))[
                0
            ]
        return func(*args, **(kwargs or {}))


class _LiveBytes(TorchDispatchMode):
    """Adds up the sizes of the storages that operations allocate, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._known: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        for tensor in given:
            self._known.setdefault(tensor.untyped_storage(), True)  # weights and inputs do not count
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known[storage] = True
        size = storage.nbytes()
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self._now -= size


def peak_activation_bytes(network: nn.Module, run: Callable[[nn.Module], object], *, training: bool) -> int:
    """Return the most bytes that tensors created by `run(network)` occupy at once.

    network: on the meta device; on another one the pass really runs. Tensors that `run` makes are on its device too.
    training: with gradients, so that what the backward pass needs stays alive; otherwise without.
    """
    network.train(training)
    device = next((parameter.device for parameter in network.parameters()), torch.device("meta"))
    with device, torch.set_grad_enabled(training):
        return peak_bytes(lambda: run(network))


def peak_bytes(run: Callable[[], object]) -> int:
    """Return the most bytes that tensors created by `run()` occupy at once. Its networks are on the meta device, as above."""
    with _FusedAttention(), _LiveBytes() as live:
        run()
    return live.peak


def on_meta(network: Module) -> Module:
    """Return a copy of a network on the meta device, of the same precision; no value is copied."""
    tensors = [*network.parameters(), *network.buffers()]
    empty = {id(tensor): _like(tensor) for tensor in tensors}
    return copy.deepcopy(network, empty)


def _like(tensor: Tensor) -> Tensor:
    values = tensor.detach().to("meta")
    return nn.Parameter(values, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values
