"""Checkpoints are whole, belong to their run, and the last two are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from gvf.config.training import TrainingConfig
from gvf.errors import UserError
from gvf.files import load_tensors, read_json
from gvf.training.checkpoint import Checkpoints, TrainingState, export, restore_state
from tests.training.toy_training import CONFIG


def state(step: int) -> TrainingState:
    tensors = {"weight": torch.full((2,), 1.0 / 3.0 + step)}
    return TrainingState(step, tensors, tensors, {"step/weight": torch.tensor(float(step))}, {"count": step})


def checkpoints(directory: Path, config: TrainingConfig = CONFIG) -> Checkpoints:
    return Checkpoints(directory, {"train_dit": {"training": config.identity()}, "data": {"digest": "abc"}})


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    assert checkpoints(tmp_path).latest() is None
    checkpoints(tmp_path).save(state(7))
    back = checkpoints(tmp_path).latest()
    assert back is not None
    assert (back.step, back.progress) == (7, {"count": 7})
    assert torch.equal(back.model["weight"], state(7).model["weight"])
    assert torch.equal(back.optimizer["step/weight"], torch.tensor(7.0))


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        checkpoints(tmp_path).save(state(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]


def test_what_a_killed_writer_left_is_neither_taken_nor_kept(tmp_path: Path) -> None:
    checkpoints(tmp_path).save(state(4))
    abandoned = tmp_path / "step-00000008.partial"
    abandoned.mkdir()
    (abandoned / "model.safetensors").write_bytes(b"\x00")
    latest = checkpoints(tmp_path).latest()
    assert latest is not None
    assert latest.step == 4
    checkpoints(tmp_path).save(state(12))
    assert not abandoned.exists()


def test_another_run_s_checkpoint_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    checkpoints(tmp_path).save(state(4))
    with pytest.raises(UserError, match=r"train_dit.training.learning_rate \(0.01 then, 0.5 now\)") as caught:
        checkpoints(tmp_path, replace(CONFIG, learning_rate=0.5)).latest()
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(UserError, match=r"data.digest \(abc then, absent now\)"):
        Checkpoints(tmp_path, {"train_dit": {"training": CONFIG.identity()}}).latest()


def test_settings_that_leave_the_numbers_alone_may_change(tmp_path: Path) -> None:
    checkpoints(tmp_path).save(state(4))
    changed = replace(CONFIG, zero_stage=2, accumulation=4, checkpoint_every=1, loader_threads=2)
    assert checkpoints(tmp_path, changed).latest() is not None
    assert "steps" in CONFIG.identity()
    assert "steps" not in replace(CONFIG, schedule="constant").identity()
    assert json.loads(json.dumps(CONFIG.identity())) == CONFIG.identity()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = checkpoints(tmp_path).save(state(4)) / "average.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"average\.safetensors"):
        checkpoints(tmp_path).latest()


def test_clear_lets_the_next_run_start_afresh(tmp_path: Path) -> None:
    checkpoints(tmp_path / "work").save(state(4))
    checkpoints(tmp_path / "work").clear()
    assert checkpoints(tmp_path / "work").latest() is None


def test_export_writes_weights_and_config_as_one(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old.txt").write_text("of an earlier run")
    export(model, {"width": 3}, tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]
    assert read_json(tmp_path / "model" / "config.json") == {"width": 3}
    assert torch.equal(load_tensors(tmp_path / "model" / "model.safetensors")["1.bias"], model[1].bias)


def test_tied_weights_can_be_exported(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    export(model, {}, tmp_path / "model")
    restore_state(model, load_tensors(tmp_path / "model" / "model.safetensors"), "model")


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"work/step-1: .*size mismatch"):
        restore_state(nn.Linear(2, 2), nn.Linear(2, 3).state_dict(), "work/step-1")
