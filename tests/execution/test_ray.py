"""The map over clips on a real Ray of this machine, offline."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gvf.errors import ConfigError
from gvf.execution.clip_map import map_clips
from gvf.execution.on_ray import connected
from tests.execution.bad_clips import misbehave
from tests.execution.test_clip_map import DEATHS, among_innocents, expected, run_config

ray = pytest.importorskip("ray")

KINDS = {
    "clip error": ("motion", "stands still", "ClipError"),
    "unpicklable": ("failed", "UnpicklableError.", "UnpicklableError"),
    "exits 3": ("crashed", "its worker process died.", "ActorDiedError"),
    "is stopped": ("timeout", "took longer than 5 s (execution.clip_seconds).", "TimeoutError"),
    "grows by arrays": DEATHS["grows by arrays"],
}


@pytest.fixture(scope="module", autouse=True)
def _one_ray_for_all() -> Iterator[None]:
    with connected(workers=3):
        yield
    assert not ray.is_initialized()


def test_bad_clips_cost_themselves_alone():
    items = among_innocents(list(KINDS))
    results = map_clips(misbehave, items, run_config("ray", workers=3, seconds=5.0, gigabytes=0.3), "test")
    assert results == expected(items, KINDS)


def test_errors_of_the_run_end_it_as_they_are():
    with pytest.raises(ConfigError, match=r"^params.yaml: render.samples: is no good\.$"):
        map_clips(misbehave, ["a", "parameter", "b"], run_config("ray", workers=1), "test")
