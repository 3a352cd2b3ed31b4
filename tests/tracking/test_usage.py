"""Duration and peak memory of a block, child processes included."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from gvf.tracking import usage as usage_module
from gvf.tracking.usage import measured, memory_bytes


def test_the_memory_of_a_child_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_module, "_SECONDS", 0.2)
    before = memory_bytes()
    with measured() as usage:
        subprocess.run([sys.executable, "-c", "import time; x = b'1' * 200_000_000; time.sleep(1.5)"], check=True)
    assert 200_000_000 < usage.peak_memory_bytes - before < 260_000_000
    assert usage.seconds > 1.5


def test_a_block_that_fails_is_measured_too() -> None:
    with pytest.raises(ValueError, match="broken"), measured() as usage:
        time.sleep(0.01)
        raise ValueError("broken")
    assert 0.01 <= usage.seconds < 60
    assert usage.peak_memory_bytes > 1_000_000
