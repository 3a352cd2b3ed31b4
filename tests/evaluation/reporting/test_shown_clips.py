"""The rule by which the report chooses its clips."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from gvf_evaluation.reporting.shown_clips import choose


def clips(gaps: list[float], psnr: list[float] | None = None) -> pd.DataFrame:
    """A table of clips named by their place, with the DiT's gaps, beside a method that must not matter."""
    names = [f"clip-{number:02d}" for number in range(len(gaps))]
    rows = pd.DataFrame({"clip_id": names, "method": "dit", "gap_closed": gaps, "psnr": psnr or [20.0] * len(gaps)})
    return pd.concat([rows, rows.assign(method="vae", gap_closed=[-gap for gap in gaps])])


def numbers(chosen: dict[str, list[str]]) -> dict[str, list[int]]:
    return {group: [int(name.rpartition("-")[2]) for name in names] for group, names in chosen.items()}


def test_five_of_each_in_the_order_of_the_gap_closed() -> None:
    falling = [1.0 - 0.01 * number for number in range(25)]
    found = numbers(choose(clips(falling)))
    assert found == {"best": [0, 1, 2, 3, 4], "median": [10, 11, 12, 13, 14], "worst": [20, 21, 22, 23, 24]}


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, ([], [], [])),
        (1, ([0], [], [])),
        (2, ([0], [], [1])),
        (3, ([0], [1], [2])),
        (7, ([0, 1], [3, 4], [5, 6])),
        (8, ([0, 1], [3, 4], [6, 7])),
    ],
)
def test_few_clips_make_equal_groups_without_repetition(count: int, expected: tuple[list[int], ...]) -> None:
    found = numbers(choose(clips([-float(number) for number in range(count)])))
    assert tuple(found.values()) == expected


def test_ties_go_by_name_and_clips_without_a_gap_are_left_out() -> None:
    found = numbers(choose(clips([0.5, math.nan, 0.5, 0.7])))
    assert found == {"best": [3], "median": [0], "worst": [2]}


def test_without_any_gap_psnr_decides() -> None:
    found = numbers(choose(clips([math.nan] * 3, psnr=[10.0, 30.0, 20.0])))
    assert found == {"best": [1], "median": [2], "worst": [0]}
