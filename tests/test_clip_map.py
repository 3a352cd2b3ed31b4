"""One map over clips: order, rejected clips, errors that name the clip, the same from every executor."""

from __future__ import annotations

import os

import pytest

from gvf.clip_map import Rejected, map_clips
from gvf.config.run import RunConfig
from gvf.errors import ClipError, StageError, UserError


def run_config(executor: str, workers: int = 2) -> RunConfig:
    return RunConfig(preset="test", seed=0, device="cpu", executor=executor, workers=workers)


def double_or_reject(number: int) -> int | None:
    if number == 3:
        raise ClipError("invalid", "three is not allowed")
    if number == 4:
        return None
    return 2 * number


def fail_on_two(number: int) -> int:
    if number == 2:
        raise ZeroDivisionError("boom")
    return number


def misuse(number: int) -> int:
    raise UserError("the setting is wrong")


def process_id(number: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_results_keep_order_and_a_bad_clip_costs_only_itself(executor):
    results = map_clips(double_or_reject, [5, 3, 4, 1], run_config(executor), "test", lambda n: f"clip-{n}")
    assert results == [10, Rejected("clip-3", "invalid", "three is not allowed"), None, 2]


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_other_errors_end_the_map_and_name_the_clip(executor):
    with pytest.raises(StageError, match=r"clip-2: ZeroDivisionError: boom"):
        map_clips(fail_on_two, [1, 2, 3], run_config(executor), "test", lambda n: f"clip-{n}")


def test_user_errors_pass_unchanged():
    with pytest.raises(UserError, match=r"^the setting is wrong$"):
        map_clips(misuse, [1], run_config("inline"), "test")


def test_process_executor_leaves_this_process_and_its_environment():
    before = dict(os.environ)
    ids = map_clips(process_id, [1, 2, 3, 4], run_config("process"), "test")
    assert os.getpid() not in ids
    assert dict(os.environ) == before


def test_nothing_to_do():
    assert map_clips(process_id, [], run_config("process"), "test") == []
