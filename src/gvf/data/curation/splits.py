"""Make seeded choices among clips: an even selection, and the held-out clips."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np


def pick_evenly(groups: Sequence[str], count: int, generator: np.random.Generator) -> list[int]:
    """Choose `count` items as evenly over the groups as possible, and return their indices in ascending order.

    groups: group name of each item. Groups take turns in a random order, and so do the items of a group.
    """
    members: dict[str, list[int]] = {}
    for index in generator.permutation(len(groups)):
        members.setdefault(groups[index], []).append(int(index))
    turns = [
        (turn, position, index) for position, queue in enumerate(members.values()) for turn, index in enumerate(queue)
    ]
    return sorted(index for _, _, index in sorted(turns)[:count])


def held_out(keys: Sequence[str], groups: Sequence[str], fraction: float, generator: np.random.Generator) -> list[bool]:
    """Return for each item whether it is held out: about `fraction` of the distinct keys are, evenly over the groups.

    keys: items with the same key stay together, e.g. the asset of each clip. groups: group name of each item; that of a
    key's first item counts. At least one key is on each side. Raises ValueError when there are fewer than two keys.
    """
    first = dict(reversed(list(zip(keys, groups))))
    names = sorted(first)
    if len(names) < 2:
        raise ValueError("there is only one key, so nothing can be held out")
    count = min(max(round(fraction * len(names)), 1), len(names) - 1)
    chosen = {names[i] for i in pick_evenly([first[name] for name in names], count, generator)}
    return [key in chosen for key in keys]


def held_out_of_every_kind(keys: Sequence[str], kinds: Sequence[str], fraction: float, seed: int) -> list[bool]:
    """Return for each item whether it is held out: about `fraction` of the keys of every kind are, and at least one.

    keys: items with the same key stay together, e.g. the skeleton of each clip. kinds: kind of each item; items of one
    key may have several. A key that would leave a kind with less than half of its items for training is not held out.
    Kinds with a single key are treated as one kind, of which none need be held out if there are others.
    Keys are chosen in an order that a digest of the seed and the key decides, so a new key of a kind changes the side of
    at most one other of that kind, unless it is so large that the rule above acts. Raises ValueError when nothing can be
    held out.
    """
    counts: dict[str, Counter[str]] = {}
    for key, kind in zip(keys, kinds):
        counts.setdefault(kind, Counter())[key] += 1
    strata = [(max(round(fraction * len(of)), 1), kind, of) for kind, of in counts.items() if len(of) > 1]
    strata.sort(key=lambda stratum: (len(stratum[2]), stratum[1]))
    single: Counter[str] = sum((of for of in counts.values() if len(of) == 1), Counter())
    strata.append((round(fraction * len(single)) if strata else max(round(fraction * len(single)), 1), "", single))
    order = sorted(set(keys), key=lambda key: _rank(seed, key))
    chosen: set[str] = set()

    def fits(key: str) -> bool:
        return all(
            2 * sum(of[other] for other in (*chosen, key)) <= sum(of.values()) for _, _, of in strata if key in of
        )

    for target, _, of in strata:
        for key in order:
            if sum(other in of for other in chosen) >= target:
                break
            if key in of and key not in chosen and fits(key):
                chosen.add(key)
    if not chosen:
        raise ValueError("nothing can be held out without leaving less than half for training")
    return [key in chosen for key in keys]


def held_out_of_seen(
    motions: Sequence[tuple[str, str]], assets: Sequence[str], kinds: Sequence[str], fraction: float, seed: int
) -> list[bool]:
    """Return for each training item whether it is held out besides: about `fraction` of every kind, whole motions.

    motions: skeleton and name of each item's animation; assets that share a skeleton often share their motions, so all
    items of a motion go together. assets: every asset keeps at least one item. kinds: kind of each item.
    Motions are chosen in an order decided by a digest of the seed, those of different skeletons first. A motion that
    exceeds what is left of a kind's share is passed over, unless the kind has none yet: then the smallest one is taken.
    """
    members: dict[tuple[str, str], list[int]] = {}
    for index, motion in enumerate(motions):
        members.setdefault(motion, []).append(index)
    left = Counter(assets)
    chosen: set[tuple[str, str]] = set()

    def take(motion: tuple[str, str]) -> None:
        chosen.add(motion)
        left.subtract(assets[index] for index in members[motion])

    def keeps_some(motion: tuple[str, str]) -> bool:
        lost = Counter(assets[index] for index in members[motion])
        return motion not in chosen and all(left[asset] > count for asset, count in lost.items())

    order = sorted(members, key=lambda motion: _rank(seed, *motion))
    of_kind = {
        kind: Counter(motion for motion, own in zip(motions, kinds) if own == kind) for kind in sorted(set(kinds))
    }
    for sizes in of_kind.values():
        target = max(round(fraction * sum(sizes.values())), 1)
        for again in (False, True):
            for motion in (motion for motion in order if motion in sizes):
                room = target - sum(sizes[other] for other in chosen)
                new = again or all(motion[0] != other[0] for other in chosen)
                if new and sizes[motion] <= room and keeps_some(motion):
                    take(motion)
        if not any(motion in sizes for motion in chosen):
            possible = [motion for motion in order if motion in sizes and keeps_some(motion)]
            if possible:
                take(min(possible, key=lambda motion: sizes[motion]))
    return [motion in chosen for motion in motions]


def _rank(seed: int, *parts: str) -> str:
    """Return a digest that orders keys at random, the same for a key whichever others there are."""
    return hashlib.sha256(repr((seed, *parts)).encode("utf-8", "surrogatepass")).hexdigest()
