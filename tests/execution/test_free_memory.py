"""Memory left within the limits of a container, of both kinds of control groups."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from gvf.execution.free_memory import free_bytes

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("limit", "use", "statistics"),
    [
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ],
)
def test_a_containers_limit_counts_and_its_file_cache_does_not(
    limit: str, use: str, statistics: str, tmp_path: Path
) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / limit).write_text("9000000\n")
    (tmp_path / use).write_text("7000000\n")
    (tmp_path / statistics).write_text("anon 5\ninactive_file 400000\ntotal_inactive_file 400000\n")
    assert free_bytes(CPU, tmp_path) == 2_400_000
    (tmp_path / use).write_text("9900000\n")
    assert free_bytes(CPU, tmp_path) == 0


@pytest.mark.parametrize("most", ["max", "9223372036854771712", ""])
def test_without_a_limit_the_machine_counts(most: str, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(most)
    (tmp_path / "memory.current").write_text("1")
    (tmp_path / "memory.stat").write_text("")
    assert free_bytes(CPU, tmp_path) == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    assert free_bytes(CPU, tmp_path / "missing") > 0
