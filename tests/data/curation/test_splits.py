"""Seeded choices among clips."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gvf.data.curation.splits import held_out, held_out_of_every_kind, held_out_of_seen, pick_evenly

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


# Skeletons by kind: ten animals, two robots of which one has most of the clips, one bird.
ANIMALS = [f"animal{i}" for i in range(10)]
KEYS = [key for key in ANIMALS for _ in range(3)] + ["rob"] * 9 + ["bot"] * 2 + ["bird"] * 2
KINDS = ["animal"] * 30 + ["robot"] * 11 + ["bird"] * 2


def _held_keys(keys: list[str], kinds: list[str], fraction: float = 0.2, seed: int = 0) -> set[str]:
    apart = held_out_of_every_kind(keys, kinds, fraction, seed)
    for key in set(keys):  # all items of a key go together
        assert len({out for own, out in zip(keys, apart) if own == key}) == 1
    return {key for key, out in zip(keys, apart) if out}


def test_every_kind_with_several_skeletons_gives_some_and_keeps_half() -> None:
    for seed in range(20):
        chosen = _held_keys(KEYS, KINDS, seed=seed)
        assert len(chosen & set(ANIMALS)) == 2
        assert "bot" in chosen  # not rob, which would take most robots out of training
        assert not chosen & {"rob", "bird"}
    assert len({frozenset(_held_keys(KEYS, KINDS, seed=seed)) for seed in range(20)}) > 5


def test_the_choice_is_stable_when_others_come() -> None:
    before = _held_keys(KEYS, KINDS)
    # Another kind changes nothing, whatever the order.
    keys, kinds = ["fish1", "fish2", *KEYS], ["fish", "fish", *KINDS]
    assert _held_keys(keys, kinds) - {"fish1", "fish2"} == before
    assert _held_keys(keys[::-1], kinds[::-1]) == _held_keys(keys, kinds)
    # Another skeleton of a kind takes the place of at most one.
    for i in range(20):
        after = _held_keys([*KEYS, f"new{i}"], [*KINDS, "animal"])
        assert len(before - after) <= 1
        assert len(after) == len(before)


def test_a_skeleton_of_two_kinds_counts_for_both() -> None:
    keys = ["both", "both", "a1", "a1", "b1", "b1"]
    kinds = ["a", "b", "a", "a", "b", "b"]
    for seed in range(10):
        assert len(_held_keys(keys, kinds, seed=seed)) == 1 == len(_held_keys(keys, kinds, seed=seed) & {"both"})


def test_files_without_kinds_are_one_kind() -> None:
    names = [f"file{i}" for i in range(20)]
    assert len(_held_keys(names, names, 0.1)) == 2
    assert len(_held_keys(names[:2], names[:2], 0.1)) == 1
    with pytest.raises(ValueError, match="nothing can be held out"):
        held_out_of_every_kind(["a", "a"], ["x", "x"], 0.5, 0)


def test_motions_of_seen_assets_go_together_and_every_asset_keeps_some() -> None:
    # Two skeletons: three characters that share four motions, and one with three motions of its own; one robot with one.
    motions = (
        [("s", f"m{i}") for _ in range(3) for i in range(4)] + [("t", f"m{i}") for i in range(3)] + [("r", "walk")]
    )
    assets = [f"s{i // 4}" for i in range(12)] + ["t"] * 3 + ["r"]
    kinds = ["human"] * 15 + ["robot"]
    for seed in range(20):
        apart = held_out_of_seen(motions, assets, kinds, 0.2, seed)
        chosen = {motion for motion, out in zip(motions, apart) if out}
        assert sum(apart) in (
            2,
            3,
        )  # of fifteen: a motion of s, which three have, or two of t, beside which it no longer fits
        assert {motion for motion, out in zip(motions, apart) if not out}.isdisjoint(chosen)
        assert {asset for asset, out in zip(assets, apart) if not out} == set(assets)
        assert held_out_of_seen(motions, assets, kinds, 0.2, seed) == apart
    # A share that no motion fits still gives the smallest.
    apart = held_out_of_seen(motions[:12], assets[:12], ["human"] * 12, 0.1, 0)
    assert sum(apart) == 3
    assert not any(held_out_of_seen([("r", "walk")], ["r"], ["robot"], 0.5, 0))
