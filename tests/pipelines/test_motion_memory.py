"""The memory of a motion: estimates beside what a process really takes, and the settings that make it fit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gvf.errors import UserError
from gvf.models.activation_memory import on_meta
from gvf.pipelines import motion_memory
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.pipelines.motion_memory import MotionLoad, batch_that_fits, estimate_memory
from tests.pipelines.small_generator import FAST, small_generator

ROOT = Path(__file__).resolve().parents[2]
LOAD = MotionLoad(num_frames=40, segment_frames=16, num_gaussians=3000)


@pytest.fixture(scope="module")
def generator() -> MotionGenerator:
    return small_generator()


def with_free(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(motion_memory, "free_bytes", lambda device: int(size))


def test_a_copy_on_meta_has_no_values_and_leaves_the_network_alone() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).half().requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    copy = on_meta(network)
    assert all(tensor.is_meta for tensor in (*copy.parameters(), *copy.buffers()))
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in copy.state_dict().items()} == {
        name: (tensor.dtype, tensor.shape) for name, tensor in before.items()
    }
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_estimates_grow_with_what_is_generated(generator: MotionGenerator) -> None:
    first = estimate_memory(generator, LOAD, FAST)
    assert first.result == 40 * 3000 * 14 * 4
    counted = sum(p.numel() for one in (generator.vae, generator.dit, generator.encoder) for p in one.parameters())
    assert first.networks >= 4 * counted
    longer = estimate_memory(generator, replace(LOAD, segment_frames=32), FAST)
    assert 1.7 < longer.generating / first.generating < 2.1
    assert longer.result == first.result
    together = estimate_memory(generator, replace(LOAD, at_once=4), FAST)
    assert together.generating > first.generating + 3 * 16 * 3000 * 14 * 4, "each candidate has a field of its own"
    guided = estimate_memory(generator, LOAD, FAST.with_changes({"video_guidance": 2.0}))
    assert guided.generating >= first.generating


def test_estimates_are_close_to_what_a_process_takes() -> None:
    sizes = ["8x8000x0", "24x16000x0", "8x8000x2", "24x16000x2"]  # frames, Gaussians, steps of the refinement
    command = [sys.executable, "-m", "tests.pipelines.peak_memory", *sizes]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300).stdout
    rows = json.loads(output)
    assert rows[1]["measured"] > 2 * rows[0]["measured"] > 100e6
    assert rows[3]["measured"] > 2 * rows[2]["measured"] > 100e6
    for row in rows:
        assert 1 / 1.5 < row["estimated"] / row["measured"] < 1.5


def test_candidates_are_generated_together_where_memory_allows(
    generator: MotionGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count in (1, 3):
        estimate = estimate_memory(generator, replace(LOAD, at_once=count), FAST)
        with_free(monkeypatch, 1.2 * estimate.working + estimate.result + 1)
        assert batch_that_fits(generator, LOAD, 8, FAST) == count
    assert batch_that_fits(generator, LOAD, 2, FAST) == 2


def test_too_little_memory_is_said_with_the_setting_that_fits(
    generator: MotionGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = estimate_memory(generator, replace(LOAD, segment_frames=8), FAST)
    with_free(monkeypatch, 1.2 * half.working + half.result + 1)
    with pytest.raises(UserError, match=r"40 frames of 3,000 Gaussians, .* --segment-frames 8 fits\."):
        batch_that_fits(generator, LOAD, 1, FAST)
    assert batch_that_fits(generator, replace(LOAD, segment_frames=8), 1, FAST) == 1

    long = replace(LOAD, num_frames=5000)
    pair = estimate_memory(generator, replace(LOAD, segment_frames=2), FAST)
    with_free(monkeypatch, 1.2 * pair.working + 0.5 * estimate_memory(generator, long, FAST).result + 1)
    with pytest.raises(UserError, match=r"--frames 2500 --segment-frames 2 fits") as raised:
        batch_that_fits(generator, long, 1, FAST)
    number = int(re.findall(r"--frames (\d+)", str(raised.value))[0])
    assert batch_that_fits(generator, MotionLoad(number, 2, 3000), 1, FAST) == 1

    with_free(monkeypatch, 1000)
    with pytest.raises(UserError, match="Not even 2 frames fit"):
        batch_that_fits(generator, LOAD, 1, FAST)
