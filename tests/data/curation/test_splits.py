"""Seeded choices among clips."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gvf.data.curation.splits import held_out, pick_evenly

GROUPS = ["a"] * 10 + ["b"] * 10 + ["c"] * 2


def _generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_small_groups_give_all_their_items() -> None:
    picked = pick_evenly(GROUPS, 10, _generator())
    assert Counter(GROUPS[i] for i in picked) == {"a": 4, "b": 4, "c": 2}
    assert picked == sorted(set(picked))
    assert len(pick_evenly(GROUPS, 99, _generator())) == 22


def test_the_choice_depends_on_the_seed() -> None:
    assert pick_evenly(GROUPS, 8, _generator()) == pick_evenly(GROUPS, 8, _generator())
    assert any(pick_evenly(GROUPS, 8, _generator()) != pick_evenly(GROUPS, 8, _generator(seed)) for seed in (1, 2))


def test_items_with_the_same_key_stay_together() -> None:
    keys = [f"key{i // 2}" for i in range(22)]
    apart = held_out(keys, GROUPS, 0.3, _generator())
    assert len({(key, out) for key, out in zip(keys, apart)}) == 11
    assert sum(apart) == 6  # 3 of 11 keys


@pytest.mark.parametrize(("fraction", "count"), [(0.001, 1), (0.999, 3)])
def test_neither_side_is_empty(fraction: float, count: int) -> None:
    assert sum(held_out(["a", "b", "c", "d"], ["x"] * 4, fraction, _generator())) == count


def test_a_single_key_is_refused() -> None:
    with pytest.raises(ValueError, match="only one key"):
        held_out(["a", "a"], ["x", "x"], 0.5, _generator())
