"""Seeds from steps, and gradients that do not depend on the order of threads."""

from __future__ import annotations

import random

import numpy as np
import torch

from gvf.training.randomness import derive_seed, deterministic, seed_everything


def test_seeds_differ_by_every_part() -> None:
    seeds = {
        derive_seed(1, "step", 2, 3),
        derive_seed(1, "step", 3, 2),
        derive_seed(2, "step", 2, 3),
        derive_seed(1, 2),
    }
    assert len(seeds) == 4
    assert derive_seed(1, "epoch", 5) == derive_seed(1, "epoch", 5)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_every_global_generator_is_seeded() -> None:
    def draw() -> tuple[float, float, float]:
        seed_everything(derive_seed(5, "step", 1))
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    assert draw() == draw()


def test_gathered_gradients_repeat_bit_for_bit() -> None:
    """Outside of `deterministic` five runs of this gave ten different results on two threads."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2048, 16, generator=generator, requires_grad=True)
    index = torch.randint(2048, (4096, 8), generator=generator)
    weights = torch.randn(4096, 8, 16, generator=generator)
    gradients = set()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with deterministic(torch.device("cpu")):
            assert torch.are_deterministic_algorithms_enabled()
            for _ in range(5):
                (gradient,) = torch.autograd.grad((values[index] * weights).sum(), values)
                gradients.add(gradient.numpy().tobytes())
    finally:
        torch.set_num_threads(threads)
    assert len(gradients) == 1
    assert not torch.are_deterministic_algorithms_enabled()
