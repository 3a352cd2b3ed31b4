"""The steps of stage 2 that learn only the motion: what they draw, their loss, and that a run resumes inside them."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from gvf.execution.threads import limited_threads
from gvf.storage.files import load_tensors
from gvf.training.batches import Draw
from gvf.training.fit import fit
from gvf.training.tasks.joint_vae import JointVaeTask
from gvf.training.tasks.motion_phase import MotionBatch
from gvf.workspace import Workspace
from tests.sections import execution_section, run_section
from tests.training import tiny_clips as tiny
from tests.training import tiny_tasks

NETWORKS = ("slat_encoder", "gaussian_decoder", "variation_vae")


def draw(*indices: int, step: int = 1, seed: int = 3) -> Draw:
    return Draw(step, indices, seed, torch.Generator().manual_seed(seed))


def changed(task: JointVaeTask, **phase: int) -> JointVaeTask:
    assert task.config.motion_phase is not None
    return replace(task, config=replace(task.config, motion_phase=replace(task.config.motion_phase, **phase)))


def test_the_phase_ends_after_its_steps() -> None:
    task = tiny_tasks.motion_first()
    kinds = [type(task.load(draw(0, step=step))).__name__ for step in (1, 5, 6)]
    assert kinds == ["MotionBatch", "MotionBatch", "JointBatch"]


def test_a_motion_batch_holds_drawn_frames_of_drawn_points() -> None:
    task = changed(tiny_tasks.motion_first(), frames_per_clip=3, points=7)
    batch = task.load(draw(1, 3))
    assert isinstance(batch, MotionBatch)
    assert batch.displacements.shape == (2, 3, 7, 3)
    for clip, item in zip(("clip-1", "clip-3"), range(2)):
        track = tiny.load_points(clip)
        rows = [
            next(n for n in range(len(track[0])) if torch.equal(track[0, n], point)) for point in batch.points[item]
        ]
        assert len(set(rows)) == 7
        assert len(set(batch.frames[item].tolist())) == 3
        torch.testing.assert_close(batch.displacements[item], track[batch.frames[item]][:, rows] - track[0, rows])
        assert float(batch.motion[item]) == pytest.approx(swing_rms(), rel=1e-5)


def swing_rms() -> float:
    """RMS displacement of the tiny clips, which swing as a whole by s (1, 0, 1/2) in frame t."""
    shifts = [0.0, 0.06, 0.1, 0.06, -0.04]
    return (sum(1.25 * shift**2 for shift in shifts) / len(shifts)) ** 0.5


@pytest.mark.parametrize("floor", [None, 0.03])
def test_a_network_that_moves_nothing_has_the_loss_of_the_motion_itself(floor: float | None) -> None:
    """Five frames of a body that moves as a whole: L_mg is 5 rms^2 (Eq. 9), or 5 rms^2 / (rms^2 + floor^2)."""
    task = changed(tiny_tasks.motion_first(), frames_per_clip=5)
    weights = replace(task.config.variation_loss, motion_floor=floor, kl=0.0, mesh_guided=2.0)
    task = replace(task, config=replace(task.config, variation_loss=weights))
    torch.manual_seed(0)
    model, first = task.build(), draw(0, 2)
    loss, terms = task.loss(model, task.load(first), first)  # its output layer starts at zero
    expected = 5 * swing_rms() ** 2 / (1.0 if floor is None else swing_rms() ** 2 + floor**2)
    assert float(terms["mesh_guided"].detach()) == pytest.approx(expected, rel=1e-4)
    assert float(loss.detach()) == pytest.approx(2.0 * expected, rel=1e-4)


def test_motion_steps_train_the_variation_vae_alone_and_draw_no_global_numbers() -> None:
    task = tiny_tasks.motion_first()
    model, first = task.build(), draw(0, 1)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    task.loss(model, task.load(first), first)[0].backward()
    assert torch.equal(torch.rand(1), expected)  # stage 1's networks were built meanwhile
    with_gradient = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == {"variation"}


def test_what_is_kept_of_a_clip_does_not_depend_on_the_weights_in_training() -> None:
    """A run that resumes computes it again, beside weights that were trained meanwhile."""
    values = []
    for noise in (0.0, 1.0):
        task, first = tiny_tasks.motion_first(), draw(2, 0)
        torch.manual_seed(0)
        model = task.build()
        for parameter in model.static.parameters():
            parameter.data.add_(noise)
        values.append(task.loss(model, task.load(first), first)[0])
    assert torch.equal(*values)


def train(folder: Path, optimizer: Literal["adamw", "muon"], kill_at: int | None = None) -> list[Mapping[str, float]]:
    rows: list[Mapping[str, float]] = []

    def log(step: int, values: Mapping[str, float]) -> None:
        rows.append({"step": step, **values})
        assert torch.get_num_threads() == 1
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGTERM)

    execution = execution_section(log_every=1, checkpoint_every=1000)
    task = tiny_tasks.motion_first()
    training = replace(task.training, optimizer=optimizer)
    with limited_threads(1, "cpu"):
        fit(
            replace(task, config=replace(task.config, training=training)),
            folder / "model",
            run_section(),
            execution,
            Workspace(folder),
            log=log,
        )
    return rows


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_resumed_in_either_phase_gives_the_same_bits(
    optimizer: Literal["adamw", "muon"], tmp_path: Path, three_threads: None
) -> None:
    whole = train(tmp_path / "whole", optimizer)
    for kill_at in (3, 7):
        with pytest.raises(SystemExit):
            train(tmp_path / "resumed", optimizer, kill_at)
    assert train(tmp_path / "resumed", optimizer) == whole
    assert ["l1" in row for row in whole] == [False] * 5 + [True] * 5
    for network in NETWORKS:
        first, second = (
            load_tensors(tmp_path / run / "model" / network / "model.safetensors") for run in ("whole", "resumed")
        )
        assert first.keys() == second.keys()
        assert all(torch.equal(value, second[name]) for name, value in first.items())
