"""Exponential moving average of the weights: used for sampling and publishing, never trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class Ema:
    """Float32 shadow of live weights: after step n it is decay^n w_0 + (1 - decay) sum_i decay^(n-i) w_i.

    live: returns the tensors that training changes; under ZeRO stage 3 this process's shards. The shadow is saved and
    restored separately from them (the released code resumed training from the average).
    """

    def __init__(self, live: Callable[[], Sequence[Tensor]], decay: float) -> None:
        self._live = live
        self._decay = decay
        self.shadow = [tensor.to(torch.float32, copy=True) for tensor in live()]

    @torch.no_grad()
    def update(self) -> None:
        """Move the shadow towards the live weights; called once per optimiser step."""
        torch._foreach_lerp_(self.shadow, [tensor.to(torch.float32) for tensor in self._live()], 1.0 - self._decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Put the average into the live tensors inside the block, then the live weights back, bit for bit."""
        kept = [tensor.clone() for tensor in self._live()]
        self._write(self.shadow)
        try:
            yield
        finally:
            self._write(kept)

    @torch.no_grad()
    def _write(self, values: Sequence[Tensor]) -> None:
        for tensor, value in zip(self._live(), values, strict=True):
            tensor.copy_(value)
