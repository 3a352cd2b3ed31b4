"""Methods that failed on a clip: the list comes back, and a method that failed everywhere ends the stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from gvf.data.failures import NAME, Failure, demand_some, read_failures, write_failures
from gvf.errors import StageError, UserError
from gvf.execution.rejected import Rejected

EMPTY = Rejected("b", "failed", "no voxel is active.")


def test_the_list_comes_back_sorted_by_clip(tmp_path: Path) -> None:
    assert read_failures(tmp_path) == []
    first, second = Failure.of("video", EMPTY), Failure("a", "dit", "memory", "needs more memory than there is.")
    write_failures(tmp_path, [first, second])
    assert read_failures(tmp_path) == [second, Failure("b", "video", "failed", "no voxel is active.")]
    (tmp_path / NAME).write_text('[{"clip": "b"}]')
    with pytest.raises(UserError, match=rf"{NAME}: not a readable list .* Run `dvc repro sample` again"):
        read_failures(tmp_path)


def test_a_method_that_failed_on_every_clip_ends_the_stage() -> None:
    demand_some("video", [None, EMPTY])
    demand_some("video", [])
    with pytest.raises(
        StageError, match=r"video: failed on all 2 clips \(2 for failed; first: b: no voxel is active\.\)"
    ):
        demand_some("video", [EMPTY, EMPTY])
