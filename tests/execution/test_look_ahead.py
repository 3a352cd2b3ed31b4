"""Threads that compute ahead: order, how far ahead, errors in their turn, and an end at any time."""

from __future__ import annotations

import threading
import time

import pytest

from gvf.execution.look_ahead import look_ahead


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_values_come_in_the_order_of_the_items(threads: int) -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.05 if item == 0 else 0.0)
        return item * item

    assert list(look_ahead(slow_first, range(8), threads)) == [item * item for item in range(8)]
    assert list(look_ahead(slow_first, [], threads)) == []


def test_without_threads_nothing_is_computed_ahead() -> None:
    begun: list[tuple[int, str]] = []
    values = look_ahead(lambda item: begun.append((item, threading.current_thread().name)), range(3), 0)
    assert begun == []
    next(values)
    assert begun == [(0, threading.current_thread().name)]


def test_as_many_items_are_computed_at_once_as_there_are_threads() -> None:
    together = threading.Barrier(3, timeout=30.0)  # passed only when three wait at the same time
    assert len(list(look_ahead(lambda item: together.wait(), range(6), 3))) == 6


def test_nothing_is_begun_too_far_ahead_or_after_the_end() -> None:
    begun: list[int] = []
    values = look_ahead(begun.append, range(20), 2)
    next(values)
    time.sleep(0.1)
    assert sorted(begun) == [0, 1, 2]
    values.close()
    time.sleep(0.1)
    assert sorted(begun) == [0, 1, 2]


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_is_raised_in_its_turn_and_ends_the_work(threads: int) -> None:
    def fail_at_two(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    values = look_ahead(fail_at_two, range(20), threads)
    assert [next(values), next(values)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(values)
    assert list(values) == []
