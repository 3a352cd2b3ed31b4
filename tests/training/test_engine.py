"""The engine and the loop in one process: steps, clipping, ZeRO stages, the average, failures, resuming."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gvf.errors import StageError, UserError
from gvf.training.batches import Draw
from gvf.training.checkpoint import Checkpoints, TrainingState
from gvf.training.engine import Engine
from gvf.training.loop import TrainingResult, _resume
from gvf.training.optimizer import learning_rate, parameter_group
from gvf.training.world import World, init
from tests.sections import execution_section
from tests.training import toy_training
from tests.training.toy_training import CONFIG, ToyModel, noisy_loss, plain_loss, run


def weights(engine: Engine) -> dict[str, Tensor]:
    """Live and averaged weights, whole."""
    state = engine.state(0, {})
    return {**state.model, **{f"average.{name}": value for name, value in state.average.items()}}


def assert_same_bits(first: tuple[TrainingResult, Engine], second: tuple[TrainingResult, Engine]) -> None:
    assert first[0].rows == second[0].rows
    left, right = weights(first[1]), weights(second[1])
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def assert_close(first: tuple[TrainingResult, Engine], second: tuple[TrainingResult, Engine]) -> None:
    """Equal up to the order of float32 sums, which 12 steps of Adam spread."""
    for left, right in zip(first[0].rows, second[0].rows, strict=True):
        assert left == pytest.approx(right, rel=1e-4)
    others = weights(second[1])
    for name, value in weights(first[1]).items():
        torch.testing.assert_close(value, others[name], rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, Engine]:
    return run(tmp_path_factory.mktemp("uninterrupted"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, Engine]:
    return run(tmp_path_factory.mktemp("plain"), loss=plain_loss)


def test_it_is_torch_s_own_training(plain: tuple[TrainingResult, Engine], tmp_path: Path) -> None:
    """The same steps written out with torch alone: losses, weights and average."""
    model = ToyModel()
    fast, slow = [*model.embed.parameters(), model.unused], list(model.body.parameters())
    optimizer = torch.optim.AdamW([{"params": fast}, {"params": slow}], betas=CONFIG.betas, weight_decay=0.01)
    average = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
    batches = toy_training.Batches(toy_training.NUM_ITEMS, toy_training.load, CONFIG, 7, init("cpu"))
    losses = []
    for draw, batch in batches.after(0):
        for group, rate in zip(optimizer.param_groups, (1.0, 0.1)):
            group["lr"] = rate * learning_rate(draw.step, CONFIG)
        loss, _ = plain_loss(model, batch, draw)
        loss.backward()
        model.unused.grad = torch.zeros(3)
        torch.nn.utils.clip_grad_norm_(fast + slow, CONFIG.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        for name, value in model.named_parameters():
            if name in average:
                average[name] = CONFIG.ema_decay * average[name] + (1 - CONFIG.ema_decay) * value.detach()
        losses.append(loss.item())
    rows = plain[0].rows
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 12]
    assert [row["loss"] for row in rows] == pytest.approx(
        [sum(losses[i : i + 2]) / 2 for i in range(0, 12, 2)], rel=1e-5
    )
    trained = weights(plain[1])
    for name, value in model.named_parameters():
        torch.testing.assert_close(trained[name], value.detach(), rtol=1e-4, atol=1e-6)
    for name, value in average.items():
        torch.testing.assert_close(trained[f"average.{name}"], value, rtol=1e-4, atol=1e-6)


def test_accumulated_passes_equal_one(plain: tuple[TrainingResult, Engine], tmp_path: Path) -> None:
    assert_close(run(tmp_path, replace(CONFIG, gradient_accumulation_steps=4), plain_loss), plain)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_stages_equal_none(stage: int, plain: tuple[TrainingResult, Engine], tmp_path: Path) -> None:
    assert_close(run(tmp_path, replace(CONFIG, zero_stage=stage, gradient_accumulation_steps=2), plain_loss), plain)


@pytest.mark.parametrize("stage", [0, 2])
def test_the_largest_gradient_norm_is_kept(stage: int, tmp_path: Path) -> None:
    """Adam's update hides the gradient's size, so the clipped gradient is read from Adam's first moment."""
    config = replace(CONFIG, steps=1, zero_stage=stage, betas=(0.0, 0.99), max_grad_norm=0.25, weight_decay=0.0)
    result, engine = run(tmp_path, config, plain_loss)
    moments = engine.state(1, {}).optimizer
    norm = torch.stack([value.norm() for name, value in moments.items() if name.startswith("exp_avg/")]).norm()
    assert result.rows[0]["gradient_norm"] > 0.25
    assert float(norm) == pytest.approx(0.25, rel=1e-4)


def test_bfloat16_keeps_float32_weights(plain: tuple[TrainingResult, Engine], tmp_path: Path) -> None:
    result, engine = run(tmp_path, replace(CONFIG, precision="bfloat16"), plain_loss)
    assert all(value.dtype == torch.float32 for value in weights(engine).values())
    assert result.rows[-1]["loss"] == pytest.approx(plain[0].rows[-1]["loss"], rel=0.05)
    assert result.rows[-1]["loss"] != plain[0].rows[-1]["loss"]


def test_frozen_weights_stay(plain: tuple[TrainingResult, Engine]) -> None:
    trained = weights(plain[1])
    assert torch.equal(trained["frozen.weight"], ToyModel().frozen.weight)
    assert "average.frozen.weight" not in trained


def test_groups_must_hold_every_parameter_once() -> None:
    model = ToyModel()
    for modules in ([model.embed], [model, model.embed]):
        with pytest.raises(ValueError, match="exactly once"):
            Engine(model, [parameter_group([module]) for module in modules], CONFIG, init("cpu"))


def test_the_average_is_in_place_inside_the_block_only(uninterrupted: tuple[TrainingResult, Engine]) -> None:
    engine = uninterrupted[1]
    before = weights(engine)
    engine.model.train()
    with engine.averaged():
        assert not engine.model.training
        assert torch.equal(engine.model.embed.weight, before["average.embed.weight"])
        assert not torch.equal(engine.model.embed.weight, before["embed.weight"])
    assert engine.model.training
    assert all(torch.equal(value, before[name]) for name, value in weights(engine).items())


def test_a_killed_run_goes_on_as_if_it_had_not_been(
    uninterrupted: tuple[TrainingResult, Engine], tmp_path: Path
) -> None:
    """SIGKILL after step 10, the last checkpoint being of step 8: curve, weights and average come out bit for bit."""
    command = [*toy_training.COMMAND, str(tmp_path), "noisy", "10", "{}"]
    killed = subprocess.run(command, cwd=toy_training.ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "0" / "curve.csv").exists()
    logged: list[int] = []
    resumed = run(tmp_path / "0", log=lambda step, values: logged.append(step))
    assert resumed[0].resumed_from == 8
    assert logged == [2, 4, 6, 8, 10, 12]
    assert_same_bits(resumed, uninterrupted)
    with (tmp_path / "0" / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [2, 4, 6, 8, 10, 12]
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in uninterrupted[0].rows]


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_resuming_between_two_points_of_the_curve(stage: int, tmp_path: Path) -> None:
    config = replace(CONFIG, zero_stage=stage, gradient_accumulation_steps=2)
    often = execution_section(checkpoint_every=3)  # step 9 is half way to the point at 10
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, config, log=_interrupt_at(10), execution=often)
    resumed = run(tmp_path, config, execution=often)
    assert resumed[0].resumed_from == 9
    assert_same_bits(resumed, run(tmp_path / "whole", config, execution=often))


def test_a_finished_run_has_nothing_left_to_do(uninterrupted: tuple[TrainingResult, Engine], tmp_path: Path) -> None:
    run(tmp_path)
    again = run(tmp_path, loss=None)
    assert again[0].resumed_from == CONFIG.steps
    assert_same_bits(again, uninterrupted)


def test_seconds_of_training_go_on_where_a_killed_run_stopped(tmp_path: Path) -> None:
    often = execution_section(checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, log=_interrupt_at(8), execution=often)
    before = json.loads((tmp_path / "work/step-00000006/state.json").read_text())["progress"]["seconds"]
    time.sleep(1.0)
    seconds = run(tmp_path, execution=often)[0].seconds
    assert list(seconds[: len(before)]) == before
    assert sorted(seconds) == list(seconds)
    assert len(seconds) == 6
    assert seconds[-1] - before[-1] < 1.0, "without the pause"


def test_seconds_also_make_a_checkpoint(tmp_path: Path) -> None:
    seconds = execution_section(checkpoint_every=1000, checkpoint_seconds=1e-9)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, log=_interrupt_at(8), execution=seconds)
    assert Checkpoints(tmp_path / "work", {"toy": CONFIG.identity()}).newest() == tmp_path / "work" / "step-00000007"


def test_fewer_steps_than_done_start_from_the_beginning_and_more_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(CONFIG, schedule="constant")
    run(tmp_path, replace(config, steps=4))
    assert run(tmp_path, replace(config, steps=2))[0].resumed_from == 0
    assert "training.steps (step 4 then, 2 now)" in caplog.text
    assert run(tmp_path, replace(config, steps=6))[0].resumed_from == 4


def test_other_ranks_resume_from_what_rank_0_has_chosen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rank 1 neither looks for a checkpoint nor sets one aside, whatever it finds."""
    run(tmp_path, CONFIG)
    work = Checkpoints(tmp_path / "work", {"toy": CONFIG.identity()})
    newest = work.path(12) / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-4])

    class Rank1:
        world = World(1, 2, torch.device("cpu"))

        def broadcast_from_main(self, value: int) -> int:
            return 8

        def restore(self, state: TrainingState, source: str) -> None:
            self.step = state.step

    engine = Rank1()
    step, _ = _resume(engine, work, CONFIG)  # type: ignore[arg-type]
    assert (step, engine.step) == (8, 8)
    assert newest.exists()
    work.path(8).rename(tmp_path / "elsewhere")
    with pytest.raises(
        StageError, match=r"step-00000008/state\.json is missing.* file system that all processes share"
    ):
        _resume(engine, work, CONFIG)  # type: ignore[arg-type]
    assert caplog.messages == []


def test_sigterm_ends_training_after_a_checkpoint_of_the_current_step(
    uninterrupted: tuple[TrainingResult, Engine], tmp_path: Path
) -> None:
    def log(step: int, values: Mapping[str, float]) -> None:
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as caught:
        run(tmp_path, log=log)
    assert caught.value.code == 143
    resumed = run(tmp_path)
    assert resumed[0].resumed_from == 6
    assert_same_bits(resumed, uninterrupted)


@pytest.mark.parametrize("stage", [0, 2])
def test_a_loss_that_is_not_finite_stops_the_run(stage: int, tmp_path: Path) -> None:
    def loss(model: nn.Module, batch: Tensor, draw: Draw) -> tuple[Tensor, Mapping[str, Tensor]]:
        error, terms = noisy_loss(model, batch, draw)
        return error * (math.nan if draw.step == 7 else 1.0), terms

    with pytest.raises(StageError, match=r"the loss is nan at step 7 \(.*error .*\).*step-00000004") as caught:
        run(tmp_path, replace(CONFIG, zero_stage=stage), loss)
    assert "learning_rate" in str(caught.value)


@pytest.mark.parametrize("stage", [0, 2])
def test_an_infinite_gradient_is_never_applied(stage: int, tmp_path: Path) -> None:
    def loss(model: nn.Module, batch: Tensor, draw: Draw) -> tuple[Tensor, Mapping[str, Tensor]]:
        error, terms = noisy_loss(model, batch, draw)
        if draw.step == 2:
            error = error + (model.unused - model.unused.detach()).sum().sqrt()  # value 0, slope infinite
        return error, terms

    world = init("cpu")
    config = replace(CONFIG, zero_stage=stage, weight_decay=0.0)
    model = ToyModel()
    engine = Engine(model, [parameter_group([model])], config, world)
    batches = toy_training.Batches(toy_training.NUM_ITEMS, toy_training.load, config, 7, world)
    passes = batches.after(0)
    for step in (1, 2):
        draw, batch = next(passes)
        before = weights(engine)
        engine.backward(lambda model: loss(model, batch, draw))  # noqa: B023
        norm = engine.step(step)
    assert not math.isfinite(norm)
    after = weights(engine)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    work = Checkpoints(tmp_path / "work", {"toy": CONFIG.identity()})
    work.save(TrainingState(4, {"embed.weight": torch.ones(1)}, {}, {}, {"rows": [], "sums": {}, "count": 0}))
    with pytest.raises(UserError, match=r"step-00000004.*do not fit the model"):
        run(tmp_path)


def _interrupt_at(last: int) -> object:
    def log(step: int, values: Mapping[str, float]) -> None:
        if step == last:
            raise KeyboardInterrupt

    return log
