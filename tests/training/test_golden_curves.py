"""Ten steps of each training against stored curves, so that no change of a number goes unnoticed.

After a deliberate change, run `python tests/training/golden_curves.py` and say in the commit why the curves moved.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.golden_curves import GOLDEN, TASKS, read_curve, record

# Processors round differently, and ten steps of Adam amplify it: between AVX-512, AVX2 and SSE code paths, and one or
# two threads, no value moved by more than 1.1e-4 of itself (the mesh-guided term; the losses by 2e-5). Where a change of
# the method is this small, the tests of the losses themselves have to find it.
TOLERANCE = 1e-3


@pytest.mark.parametrize("name", TASKS)
def test_the_curve_is_the_stored_one(name: str, tmp_path: Path) -> None:
    golden = read_curve(GOLDEN / f"{name}.csv")
    assert [row["step"] for row in golden] == list(range(1, 11))
    for row, expected in zip(record(name, tmp_path), golden, strict=True):
        assert row == pytest.approx(expected, rel=TOLERANCE)
