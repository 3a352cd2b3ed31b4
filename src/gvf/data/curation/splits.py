"""Seeded choices among clips: a cap spread evenly, and what is kept from training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pick_evenly(groups: Sequence[str], count: int, generator: np.random.Generator) -> list[int]:
    """Indices of `count` items, as many from each group as it has and the others allow; in ascending order.

    groups: group name of each item. Groups take turns in a drawn order, each giving its items in a drawn order.
    """
    members: dict[str, list[int]] = {}
    for index in generator.permutation(len(groups)):
        members.setdefault(groups[index], []).append(int(index))
    turns = [
        (turn, position, index) for position, queue in enumerate(members.values()) for turn, index in enumerate(queue)
    ]
    return sorted(index for _, _, index in sorted(turns)[:count])


def held_out(keys: Sequence[str], groups: Sequence[str], fraction: float, generator: np.random.Generator) -> list[bool]:
    """Which items are held out: those of about `fraction` of the distinct keys, spread evenly over groups.

    keys: what must not be divided, e.g. the asset of each clip. groups: group name of each item, that of a key's first
    item counts. At least one key is on each side. Raises ValueError when there are fewer than two keys.
    """
    first = dict(reversed(list(zip(keys, groups))))
    names = sorted(first)
    if len(names) < 2:
        raise ValueError("there is only one key, nothing to divide")
    count = min(max(round(fraction * len(names)), 1), len(names) - 1)
    chosen = {names[i] for i in pick_evenly([first[name] for name in names], count, generator)}
    return [key in chosen for key in keys]
