"""Description of one kind of published weights, and recognition of a kind by the keys in a file.

This module imports no network, so that loading one family of networks does not depend on the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

Shapes = Mapping[str, tuple[int, ...]]

MARKERS: Mapping[str, str] = {
    "variation-vae": "decoder_cross_attn.fn.to_q.weight",
    "dit": "static_cond_proj.weight",
    "static-vae": "from_latent.weight",
    "slat-gs-decoder": "offset_perturbation",
    "slat-flow": "input_blocks.0.conv1.conv.weight",
    "ss-flow": "pos_emb",
    "ss-decoder": "middle_block.0.conv1.weight",
    "slat-encoder": "blocks.0.attn.to_qkv.weight",
}
"""For each kind a key that all its files have; the first kind whose marker is in a file is the file's kind."""


@dataclass(frozen=True)
class Layout:
    """One kind of published weights.

    infer: returns the sizes that the shapes show; raises KeyError for a missing key, IndexError for one of too few axes.
    build: returns a module of the given sizes. module: its class. prefixes: beginnings of our names, and of the
    published ones.
    """

    kind: str
    infer: Callable[[Shapes], dict[str, Any]]
    build: Callable[[dict[str, Any]], nn.Module]
    module: type[nn.Module]
    prefixes: tuple[tuple[str, str], ...] = ()

    @property
    def marker(self) -> str:
        """Return a key that all files of this kind have."""
        return MARKERS[self.kind]

    def published_name(self, ours: str) -> str:
        """Return the published name of a tensor of our module."""
        for before, after in self.prefixes:
            if ours.startswith(before):
                return after + ours.removeprefix(before)
        return ours


def recognize(shapes: Shapes) -> str | None:
    """Return the kind whose marker is among the keys, None if there is none."""
    return next((kind for kind, marker in MARKERS.items() if marker in shapes), None)


def count_modules(shapes: Shapes, pattern: str) -> int:
    """Return the number of modules in a list: one more than the largest index among matching keys, at least 1.

    It is at most the number of tensors, so that a stray key with a huge index builds no huge network; such a file is
    refused later, for the tensors that it lacks.
    """
    numbers = [int(match[1]) for name in shapes if (match := re.match(pattern, name))]
    return min(max(numbers, default=0) + 1, max(len(shapes), 1))
