"""Choose the items of a step as a function of the step alone, so that resuming needs only the step's number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

import torch

from gvf.config.training import TrainingConfig
from gvf.errors import UserError
from gvf.execution.look_ahead import look_ahead
from gvf.training.randomness import derive_seed
from gvf.training.world import World

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Draw:
    """One pass of one process: its items and its randomness.

    step: the optimiser step it belongs to, from 1. indices: items, in [0, num_items). seed: of this pass alone.
    generator: made from the seed, on CPU (augmentations, noise, timesteps); first `load` draws from it, then the loss.
    """

    step: int
    indices: tuple[int, ...]
    seed: int
    generator: torch.Generator


class Batches(Generic[Batch]):
    """Batches over shuffled epochs: every item once per epoch, in an order drawn from the seed and the epoch.

    With `groups`, the name of each item's group, an epoch holds one item of every group instead, and the items of a group
    take turns over the epochs, in shuffled rounds of their own.
    load: reads the items of a Draw. It may run in a thread ahead of its step, so it draws from `draw.generator` only.
    threads: how many of them read ahead; with 0 items are read between steps.
    The global batch of a step is the same for every number of processes and passes.
    """

    def __init__(
        self,
        num_items: int,
        load: Callable[[Draw], Batch],
        config: TrainingConfig,
        seed: int,
        world: World,
        threads: int = 0,
        groups: Sequence[str] | None = None,
    ) -> None:
        """Raise UserError when there is no item, or the batch cannot be divided over the processes."""
        if num_items < 1:
            raise UserError("There is nothing to train on: no accepted training clip. See data/curated/clips.parquet.")
        parts = config.gradient_accumulation_steps * world.size
        self._per_pass, rest = divmod(config.batch_size, parts)
        if rest:
            raise UserError(
                f"training.batch_size {config.batch_size} cannot be divided over {world.size} processes x "
                f"{config.gradient_accumulation_steps} accumulated passes. Choose a multiple of {parts}."
            )
        self._load, self._config, self._seed, self._world = load, config, seed, world
        self._threads = threads
        self._members = [[item] for item in range(num_items)] if groups is None else _members(groups)
        self._order = lru_cache(maxsize=3 + len(self._members))(self._shuffle)

    def draw(self, step: int, part: int) -> Draw:
        """Return the Draw of pass `part` (from 0) of optimiser step `step` (from 1) in this process."""
        start = (step - 1) * self._config.batch_size + (part * self._world.size + self._world.rank) * self._per_pass
        seed = derive_seed(self._seed, "step", step, part, self._world.rank)
        indices = tuple(self._item(position) for position in range(start, start + self._per_pass))
        return Draw(step, indices, seed, torch.Generator().manual_seed(seed))

    def after(self, step: int) -> Iterator[tuple[Draw, Batch]]:
        """Yield every pass of the steps after `step`; `gradient_accumulation_steps` of them make a step."""
        draws = (
            self.draw(later, part)
            for later in range(step + 1, self._config.steps + 1)
            for part in range(self._config.gradient_accumulation_steps)
        )
        with closing(look_ahead(lambda draw: (draw, self._load(draw)), draws, self._threads)) as passes:
            yield from passes

    def _item(self, position: int) -> int:
        epoch, place = divmod(position, len(self._members))
        group = self._order("epoch", epoch, len(self._members))[place]
        members = self._members[group]
        if len(members) == 1:
            return members[0]
        turn, place = divmod(epoch, len(members))
        return members[self._order(f"group {group}", turn, len(members))[place]]

    def _shuffle(self, what: str, round_: int, count: int) -> list[int]:
        generator = torch.Generator().manual_seed(derive_seed(self._seed, what, round_))
        return torch.randperm(count, generator=generator).tolist()


def _members(groups: Sequence[str]) -> list[list[int]]:
    """Return the items of each group, groups in the order of their names."""
    members: dict[str, list[int]] = {}
    for item, group in enumerate(groups):
        members.setdefault(group, []).append(item)
    return [members[group] for group in sorted(members)]
