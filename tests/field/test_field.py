"""Every line of ../shared/field/README.md gives its right result: one check per input, in the `checks_*` modules beside.

A check is a function `check(path, tmp_path, monkeypatch)` under the name that the table of the README gives the input.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.field import (
    checks_files,
    checks_frames,
    checks_geometry,
    checks_materials,
    checks_operation,
    checks_sources,
)

CHECKS: dict[str, Callable[..., None]] = {
    **checks_sources.CHECKS,
    **checks_geometry.CHECKS,
    **checks_materials.CHECKS,
    **checks_frames.CHECKS,
    **checks_files.CHECKS,
    **checks_operation.CHECKS,
}


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_field_input_gives_its_right_result(name, shared, tmp_path, monkeypatch):
    path = shared / "field" / name
    assert path.exists(), f"{name} is no longer among the inputs from the field"
    CHECKS[name](path, tmp_path, monkeypatch)


def test_every_input_of_the_table_has_a_check(shared):
    rows = [line for line in (shared / "field/README.md").read_text().splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    named = [name.partition(" ")[0].rstrip("/") for name in named]  # `dead_server.py MODE PORT`
    assert set(named) == set(CHECKS)
