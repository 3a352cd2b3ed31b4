"""The number format in which a pass through a model is computed."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch

_SIZE = 512  # of the matrices whose products are timed
_TRIES = 7
_FASTER = 1.3  # times as fast as float32, so that noise does not decide: where it pays it is two times or more


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which matrix products run in bfloat16, or one that changes nothing.

    precision: `float32`, `bfloat16`, or `auto`: bfloat16 where its products are found to be faster on this machine.
    """
    if precision == "bfloat16" or (precision == "auto" and bfloat16_is_faster(device)):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


@cache
def bfloat16_is_faster(device: torch.device) -> bool:
    """Return whether bfloat16 products of matrices take less time than float32 ones, forward and backward.

    It is measured once per process, in a few milliseconds. What processors say of themselves does not tell: some multiply
    bfloat16 in special units (four times as fast), others have the instructions and emulate them (2.6 times slower).
    """
    seconds = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(_TRIES):  # in turns, so that other work on the machine meets both
        for dtype in seconds:
            seconds[dtype] = min(seconds[dtype], product_seconds(dtype, device))
    return seconds[torch.float32] > _FASTER * seconds[torch.bfloat16]


@torch.no_grad()
def product_seconds(dtype: torch.dtype, device: torch.device) -> float:
    """Return the seconds that the three products of a linear layer's step take: output, and gradients of both inputs."""
    x, weight, gradient = (torch.ones(_SIZE, _SIZE, dtype=dtype, device=device) for _ in range(3))
    _wait(device)
    start = time.perf_counter()
    results = x @ weight.T, gradient @ weight, gradient.T @ x
    _wait(device)
    del results
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
