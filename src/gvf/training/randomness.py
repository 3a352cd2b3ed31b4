"""All randomness of training is a function of the seed and the step, so that no random state needs to be kept.

A run that is killed and resumed draws the same numbers at the same step as one that is not.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def derive_seed(*parts: int | str) -> int:
    """Return a 63-bit seed made from named parts, e.g. (seed, "step", 12); different parts give unrelated seeds."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_everything(seed: int) -> None:
    """Seed the global generators of python, numpy and torch (every device), which dropout and some libraries draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (libraries that draw from the global state)
    torch.manual_seed(seed)


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Make equal inputs give equal bits on CPU, where the gradient of `x[index]` otherwise sums in the order of threads.

    It costs nothing there (measured). On CUDA the fast atomic kernels stay, and runs agree up to rounding only.
    """
    if device.type != "cpu":
        yield
        return
    switches: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), switches.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    switches.fill_uninitialized_memory = False  # a debugging aid that writes every new tensor
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        switches.fill_uninitialized_memory = before[1]
