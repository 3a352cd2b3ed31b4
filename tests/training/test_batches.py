"""Sampling as a function of the step."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from gvf.config.training import TrainingConfig
from gvf.errors import UserError
from gvf.training.batches import Batches, Draw
from gvf.training.world import World
from tests.training.toy_training import CONFIG


def make(
    config: TrainingConfig = CONFIG, items: int = 20, rank: int = 0, size: int = 1, threads: int = 0
) -> Batches[Draw]:
    return Batches(
        items, lambda draw: draw, config, seed=3, world=World(rank, size, torch.device("cpu")), threads=threads
    )


def test_every_item_is_read_once_an_epoch() -> None:
    batches = make(replace(CONFIG, batch_size=6), items=20)
    read = [index for step in range(1, 11) for index in batches.draw(step, 0).indices]  # 60 items: three epochs
    for epoch in range(3):
        assert Counter(read[20 * epoch : 20 * epoch + 20]) == Counter(range(20))
    assert read[:20] != read[20:40]


@pytest.mark.parametrize(("accumulation", "size"), [(2, 1), (1, 4), (2, 2)])
def test_a_step_reads_the_same_items_however_it_is_divided(accumulation: int, size: int) -> None:
    divided = replace(CONFIG, gradient_accumulation_steps=accumulation)
    for step in (1, 2, 5):
        parts = [
            make(divided, rank=rank, size=size).draw(step, part).indices
            for part in range(accumulation)
            for rank in range(size)
        ]
        assert tuple(index for part in parts for index in part) == make().draw(step, 0).indices


def test_a_pass_draws_the_same_numbers_whenever_it_is_reached() -> None:
    later = next(make().after(7))[0]
    whole = list(make().after(0))
    assert later.step == 8
    assert later.seed == whole[7][0].seed
    assert torch.equal(torch.rand(5, generator=later.generator), torch.rand(5, generator=whole[7][0].generator))
    assert len({draw.seed for draw, _ in whole}) == CONFIG.steps
    assert make(rank=1, size=2).draw(8, 0).seed != later.seed


def test_reading_ahead_in_threads_changes_nothing() -> None:
    ahead = list(make(replace(CONFIG, gradient_accumulation_steps=2), threads=3).after(0))
    plain = list(make(replace(CONFIG, gradient_accumulation_steps=2)).after(0))
    assert len(ahead) == 2 * CONFIG.steps
    assert [(d.step, d.indices, d.seed) for d, _ in ahead] == [(d.step, d.indices, d.seed) for d, _ in plain]
    assert all(draw is batch for draw, batch in ahead)


def test_a_reader_that_fails_ends_the_run() -> None:
    def load(draw: Draw) -> None:
        if draw.step == 3:
            raise OSError("gone")

    batches = Batches(20, load, CONFIG, 3, World(0, 1, torch.device("cpu")), threads=2)
    with pytest.raises(OSError, match="gone"):
        list(batches.after(0))


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(UserError, match=r"batch_size 8 .* 3 processes"):
        make(size=3)
    with pytest.raises(UserError, match="no accepted training clip"):
        make(items=0)


GROUPS = ["fox"] * 12 + ["cat"] * 3 + ["owl"]


def grouped(**world: int) -> Batches[Draw]:
    place = World(world.get("rank", 0), world.get("size", 1), torch.device("cpu"))
    return Batches(16, lambda draw: draw, replace(CONFIG, batch_size=6), 3, place, groups=GROUPS)


def test_groups_are_drawn_equally_often_and_their_items_take_turns() -> None:
    read = [index for step in range(1, 25) for index in grouped().draw(step, 0).indices]  # 144 items: 48 rounds
    for start in range(0, len(read), 3):
        assert {GROUPS[index] for index in read[start : start + 3]} == {"fox", "cat", "owl"}
    assert Counter(read) == {**dict.fromkeys(range(12), 4), **dict.fromkeys(range(12, 15), 16), 15: 48}
    foxes, cats = ([index for index in read if GROUPS[index] == name] for name in ("fox", "cat"))
    assert set(foxes[:12]) == set(foxes[12:24]) == set(range(12))
    assert foxes[:12] != foxes[12:24]
    assert len({tuple(cats[i : i + 3]) for i in range(0, len(cats), 3)}) > 3
    assert len({GROUPS[read[i]] for i in range(0, len(read), 3)}) == 3  # groups are shuffled too


def test_balanced_draws_are_a_function_of_the_step_however_it_is_divided() -> None:
    whole = [grouped().draw(step, 0).indices for step in range(1, 10)]
    assert grouped().draw(7, 0).indices == whole[6]
    for step in (1, 9):
        parts = [index for rank in range(3) for index in grouped(rank=rank, size=3).draw(step, 0).indices]
        assert tuple(parts) == whole[step - 1]
