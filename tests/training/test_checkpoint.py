"""Checkpoints are whole, belong to their run, the last two are kept, and none blocks a run."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from gvf.config.training import TrainingConfig
from gvf.errors import StageError, UserError
from gvf.storage.files import read_json
from gvf.training.checkpoint import Checkpoints, TrainingState, restore_state, shapes_digest
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


def step_of(state: TrainingState | None) -> int | None:
    return None if state is None else state.step


def test_another_run_s_checkpoints_are_set_aside_and_come_back_with_its_settings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = tmp_path / "train_dit"
    other = replace(CONFIG, learning_rate=0.5)
    for step in (4, 8):
        checkpoints(work).save(state(step))
    assert checkpoints(work, other).latest() is None
    (warning,) = caplog.messages
    assert "train_dit.training.learning_rate (0.01 then, 0.5 now)" in warning
    (aside,) = tmp_path.glob("train_dit.other-settings-*")
    assert str(aside) in warning
    assert sorted(path.name for path in aside.iterdir()) == ["step-00000004", "step-00000008"]

    checkpoints(work, other).save(state(6))
    assert step_of(checkpoints(work, other).latest()) == 6
    assert step_of(checkpoints(work).latest()) == 8
    assert not aside.exists()
    assert step_of(checkpoints(work, other).latest()) == 6


def test_other_data_are_other_settings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints(tmp_path / "work").save(state(4))
    other = Checkpoints(tmp_path / "work", {"train_dit": {"training": CONFIG.identity()}})
    assert other.latest() is None
    assert "data.digest (abc then, absent now)" in caplog.text


def test_three_folders_of_other_settings_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(6):
        mine = checkpoints(tmp_path / "work", replace(CONFIG, warmup_steps=number))
        assert mine.latest() is None
        mine.save(state(4))
    folders = list(tmp_path.glob("work.other-settings-*"))
    assert len(folders) == 3
    kept = [read_json(folder / "step-00000004/state.json")["identity"] for folder in folders]
    assert sorted(identity["train_dit.training.warmup_steps"] for identity in kept) == [2, 3, 4]
    assert caplog.text.count(": removed; the newest 3 such folders are kept") == 2


def test_steps_past_the_last_are_set_aside_until_they_are_wanted(tmp_path: Path) -> None:
    work = tmp_path / "work"
    for step in (4, 8):
        checkpoints(work).save(state(step))
    assert step_of(checkpoints(work).latest(max_step=6)) == 4
    assert step_of(checkpoints(work).latest(max_step=2)) is None
    checkpoints(work).save(state(2))
    assert step_of(checkpoints(work).latest(max_step=8)) == 8


def test_settings_that_leave_the_numbers_alone_may_change(tmp_path: Path) -> None:
    checkpoints(tmp_path).save(state(4))
    changed = replace(CONFIG, zero_stage=2, gradient_accumulation_steps=4)
    assert checkpoints(tmp_path, changed).latest() is not None
    assert "steps" in CONFIG.identity()
    assert "steps" not in replace(CONFIG, schedule="constant").identity()
    assert json.loads(json.dumps(CONFIG.identity())) == CONFIG.identity()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-2] ^= 4
    file.write_bytes(content)


def become_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES = {
    "cut weights": ("average.safetensors", cut, "is not what was written"),
    "empty optimiser": ("optimizer.safetensors", lambda file: file.write_bytes(b""), "is not what was written"),
    "flipped bit": ("model.safetensors", flip_a_bit, "is not what was written"),
    "missing part": ("model.safetensors", Path.unlink, "is missing"),
    "unreadable part": ("model.safetensors", become_a_folder, "cannot be read"),
    "cut state": ("state.json", cut, "cannot be read"),
    "empty state": ("state.json", lambda file: file.write_bytes(b""), "cannot be read"),
    "binary state": ("state.json", lambda file: file.write_bytes(b"\xff\x00\xfe"), "cannot be read"),
    "missing state": ("state.json", Path.unlink, "is missing"),
    "state of something else": ("state.json", lambda file: file.write_text("[1]"), "does not describe a checkpoint"),
    "state of an old version": ("state.json", lambda file: file.write_text('{"step": 8}'), "does not describe"),
    "state of another step": (
        "state.json",
        lambda file: file.write_text(file.read_text().replace("8", "9", 1)),
        "step 9",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_costs_one_warning_and_the_one_before_is_taken(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name, break_it, reason = DAMAGES[damage]
    for step in (4, 8):
        checkpoints(tmp_path).save(state(step))
    break_it(tmp_path / "step-00000008" / name)
    assert step_of(checkpoints(tmp_path).latest()) == 4
    (warning,) = caplog.messages
    assert f"step-00000008/{name}" in warning
    assert reason in warning
    assert f"resuming from {tmp_path / 'step-00000004'}" in warning
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged-step-00000008", "step-00000004"]
    assert step_of(checkpoints(tmp_path).latest()) == 4
    assert len(caplog.messages) == 1


def test_without_an_intact_checkpoint_training_starts_from_the_beginning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for first in (10, 30, 50):
        for step in (first, first + 10):
            cut(checkpoints(tmp_path).save(state(step)) / "model.safetensors")
        assert checkpoints(tmp_path).latest() is None
        assert "training starts from the beginning" in caplog.messages[-1]
    assert len(caplog.messages) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged-step-00000050", "damaged-step-00000060"]


def test_a_machine_without_file_handles_damages_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints(tmp_path).save(state(4))

    def no_handle(path: Path) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("gvf.training.checkpoint.sha256", no_handle)
    with pytest.raises(OSError, match="Too many open files"):
        checkpoints(tmp_path).latest()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000004"]


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints(tmp_path).save(state(4))

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gvf.training.checkpoint.save_tensors", full)
    big = replace(state(8), model={"weight": torch.zeros(1000, 1000)})
    with pytest.raises(StageError, match=r"step 8: it needs 4\.0 MB, .* resumes from .*step-00000004"):
        checkpoints(tmp_path).save(big)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000004"]
    assert step_of(checkpoints(tmp_path).latest()) == 4


def test_the_digest_of_shapes_tells_models_apart() -> None:
    frozen = nn.Linear(2, 3).requires_grad_(False)
    digests = {
        shapes_digest(model) for model in (nn.Linear(2, 3), nn.Linear(3, 2), frozen, nn.Linear(2, 3, bias=False))
    }
    assert len(digests) == 4
    assert shapes_digest(nn.Linear(2, 3)) == shapes_digest(nn.Linear(2, 3))


def test_clear_lets_the_next_run_start_from_the_beginning(tmp_path: Path) -> None:
    checkpoints(tmp_path / "work").save(state(4))
    checkpoints(tmp_path / "work").clear()
    assert checkpoints(tmp_path / "work").latest() is None


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"work/step-1: .*size mismatch"):
        restore_state(nn.Linear(2, 2), nn.Linear(2, 3).state_dict(), "work/step-1")
