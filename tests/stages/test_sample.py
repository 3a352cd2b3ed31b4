"""How many clips the stage `sample` handles at once."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gvf.config.load import load_params
from gvf.stages.sample import _threads

ROOT = Path(__file__).parents[2]
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("device", "changes", "torch_threads", "expected"),
    [
        (CPU, {"executor": "process", "workers": 3}, 1, 3),
        (CPU, {"executor": "ray", "workers": 16}, 1, 8),  # no more than there are cores
        (CPU, {"executor": "process", "workers": 4}, 4, 2),
        (CPU, {"executor": "process", "workers": 4}, 8, 0),  # torch has all cores already
        (CPU, {"executor": "process", "workers": 1}, 1, 0),
        (CPU, {"executor": "inline", "workers": 4}, 1, 0),
        (GPU, {"executor": "process", "workers": 4}, 1, 0),
    ],
)
def test_threads_share_the_cores_of_a_cpu(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, changes: dict[str, Any], torch_threads: int, expected: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: torch_threads)
    assert _threads(replace(load_params(ROOT / "params.yaml").execution, **changes), device) == expected
