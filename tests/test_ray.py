"""The map over clips on a real Ray of this machine, offline."""

from __future__ import annotations

import pytest

from gvf.clip_map import map_clips
from gvf.errors import ConfigError
from tests.bad_clips import misbehave
from tests.test_clip_map import DEATHS, among_innocents, expected, run_config

ray = pytest.importorskip("ray")

KINDS = {
    "clip error": ("motion", "stands still", "ClipError"),
    "unpicklable": ("failed", "UnpicklableError.", "UnpicklableError"),
    "exits 3": ("crashed", "its worker process died.", "ActorDiedError"),
    "sleeps": DEATHS["sleeps"],
    "is stopped": DEATHS["is stopped"],
    "grows by arrays": DEATHS["grows by arrays"],
}


def test_bad_clips_cost_themselves_alone():
    items = among_innocents(list(KINDS))
    results = map_clips(misbehave, items, run_config("ray", workers=3, seconds=6.0, gigabytes=0.9), "test")
    assert results == expected(items, KINDS)
    assert not ray.is_initialized()


def test_errors_of_the_run_end_it_as_they_are():
    with pytest.raises(ConfigError, match=r"^params.yaml: render.samples: is no good\.$"):
        map_clips(misbehave, ["a", "parameter", "b"], run_config("ray", workers=1), "test")
