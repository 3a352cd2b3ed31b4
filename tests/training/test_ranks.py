"""Two processes over gloo, started as a launcher starts them, against one process with the whole batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gvf.errors import UserError
from gvf.training.checkpoint import Checkpoints
from gvf.training.world import init
from tests.training import toy_training
from tests.training.toy_training import CONFIG, plain_loss, run

STAGES = (0, 2, 3)
BASE = replace(CONFIG, schedule="constant")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with the runs of two processes, one for each ZeRO stage."""
    directory = tmp_path_factory.mktemp("ranks")
    variants = [json.dumps({"zero_stage": stage, "schedule": "constant"}) for stage in STAGES]
    command = [*toy_training.COMMAND, str(directory), "plain", "-1", *variants]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            command,
            cwd=toy_training.ROOT,
            env=os.environ | launched | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=250)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()
    return directory


@pytest.mark.parametrize("number", range(len(STAGES)))
def test_two_processes_equal_one(number: int, two_ranks: Path, tmp_path: Path) -> None:
    result, engine = run(tmp_path, BASE, plain_loss)
    state = Checkpoints(two_ranks / str(number) / "work", {"toy": BASE.identity()}).latest()
    assert state is not None
    for mine, theirs in zip(result.rows, state.progress["rows"], strict=True):
        assert theirs == pytest.approx(mine, rel=1e-4)
    alone = engine.state(CONFIG.steps, {})
    for part in ("model", "average", "optimizer"):
        for name, value in getattr(alone, part).items():
            torch.testing.assert_close(getattr(state, part)[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("number", range(len(STAGES)))
def test_one_process_goes_on_where_two_stopped(number: int, two_ranks: Path, tmp_path: Path) -> None:
    (tmp_path / "work").symlink_to(two_ranks / str(number) / "work")
    longer = replace(BASE, steps=16)
    resumed, _ = run(tmp_path, longer, plain_loss)
    whole, _ = run(tmp_path / "whole", longer, plain_loss)
    assert resumed.resumed_from == 12
    assert resumed.rows[-1] == pytest.approx(whole.rows[-1], rel=1e-3)


def test_half_a_launcher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UserError, match="MASTER_ADDR"):
        init("cpu")


def test_a_missing_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=r"run\.device: is cuda"):
        init("cuda")
    assert init("auto").device == torch.device("cpu")
