"""Parameters are checked once, at the edge, and a message names the key."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gvf.config.load import as_dict, parse
from gvf.config.run import RunConfig
from gvf.errors import ConfigError

RUN = {
    "preset": "cpu",
    "seed": 0,
    "device": "cpu",
    "executor": "inline",
    "workers": 2,
    "clip_seconds": 600.0,
    "clip_memory_gb": 8.0,
}


@dataclass(frozen=True)
class Inner:
    rate: float


@dataclass(frozen=True)
class Outer:
    inner: Inner
    sizes: tuple[int, ...]
    pair: tuple[int, str]
    limit: int | None
    on: bool
    optional: Inner | None = None


GOOD = {"inner": {"rate": 1}, "sizes": [1, 2], "pair": [1, "a"], "limit": None, "on": True}


def test_good_values_become_typed():
    config = parse(Outer, GOOD, "outer")
    assert config == Outer(Inner(1.0), (1, 2), (1, "a"), None, True)
    assert isinstance(config.inner.rate, float)
    assert as_dict(config)["inner"] == {"rate": 1.0}


def test_numbers_without_a_dot_are_numbers():
    assert parse(Inner, {"rate": "1e-4"}, "inner").rate == 1e-4


@pytest.mark.parametrize(
    ("change", "key", "text"),
    [
        ({"inner": {"rte": 1}}, "outer.inner", "Did you mean 'rate'"),
        ({"inner": {}}, "outer.inner.rate", "is missing"),
        ({"inner": 3}, "outer.inner", "must be a mapping"),
        ({"inner": {"rate": "fast"}}, "outer.inner.rate", "must be a number, is 'fast'"),
        ({"sizes": [1, 2.5]}, "outer.sizes[1]", "must be a whole number, is 2.5"),
        ({"sizes": 3}, "outer.sizes", "must be a list"),
        ({"pair": [1]}, "outer.pair", "must have 2 values"),
        ({"limit": True}, "outer.limit", "must be a whole number"),
        ({"on": 1}, "outer.on", "must be true or false"),
        ({"nonsense": 1}, "outer", "has no field 'nonsense'"),
    ],
)
def test_messages_name_the_key(change, key, text):
    with pytest.raises(ConfigError) as error:
        parse(Outer, {**GOOD, **change}, "outer")
    assert error.value.key == key
    assert text in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("change", "key"),
    [({"seed": -1}, "run.seed"), ({"device": "tpu"}, "run.device"), ({"workers": 0}, "run.workers")],
)
def test_run_section_checks_ranges(change, key):
    with pytest.raises(ConfigError) as error:
        parse(RunConfig, {**RUN, **change}, "run")
    assert error.value.key == key
