"""Make seeded choices among clips: an even selection, and the held-out clips."""

from __future__ import annotations

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
