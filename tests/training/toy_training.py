"""A small model trained through the real engine and loop, in this process or as a script that can be killed.

It uses every kind of randomness a stage does: shuffled items, noise from the step's generator, dropout, and numpy's and
python's global generators; and gathers by index, whose gradient threads add up.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gvf.config.execution import ExecutionConfig
from gvf.config.training import TrainingConfig
from gvf.training.batches import Batches, Draw
from gvf.training.checkpoint import Checkpoints
from gvf.training.engine import Engine
from gvf.training.loop import TrainingResult, train, write_curve
from gvf.training.optimizer import parameter_group
from gvf.training.world import init
from tests.sections import execution_section

CONFIG = TrainingConfig(
    steps=12,
    batch_size=8,
    balance=None,
    gradient_accumulation_steps=1,
    optimizer="adamw",
    learning_rate=1e-2,
    schedule="cosine",
    warmup_steps=3,
    betas=(0.9, 0.99),
    weight_decay=0.01,
    max_grad_norm=0.5,
    ema_decay=0.9,
    precision="float32",
    zero_stage=0,
)
EXECUTION = execution_section()
ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "tests.training.toy_training"]
"""The start of a command line that runs this module as a program, in the folder ROOT."""
NUM_ITEMS, LENGTH, WIDTH = 20, 16, 24


class ToyModel(nn.Module):
    """Embeds tokens, gathers neighbours, predicts the next token's value; one weight is frozen, one never used."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embed = nn.Linear(3, WIDTH)
        self.body = nn.Sequential(nn.Linear(2 * WIDTH, 4 * WIDTH), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * WIDTH, 3))
        self.frozen = nn.Linear(3, 3)
        self.unused = nn.Parameter(torch.ones(3))
        self.register_buffer("scale", torch.tensor(2.0))
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
        self.frozen.requires_grad_(False)

    def forward(self, tokens: Tensor, neighbours: Tensor) -> Tensor:
        """tokens [B, L, 3], neighbours [L, K] -> [B, L, 3]."""
        hidden = self.embed(self.frozen(tokens) * self.scale)
        gathered = hidden[:, neighbours].mean(2)
        return self.body(torch.cat([hidden, gathered], -1))


def load(draw: Draw) -> Tensor:
    """Items of the draw with augmentation: [B, L, 3]."""
    items = torch.stack([torch.randn(LENGTH, 3, generator=torch.Generator().manual_seed(i)) for i in draw.indices])
    return items * (1.0 + 0.1 * torch.rand(1, generator=draw.generator))


def noisy_loss(model: nn.Module, batch: Tensor, draw: Draw) -> tuple[Tensor, Mapping[str, Tensor]]:
    """A loss that draws from every generator there is."""
    noise = torch.randn(batch.shape, generator=draw.generator)
    jitter = random.random() * 0.01 + np.random.rand() * 0.01  # noqa: NPY002
    neighbours = torch.randint(LENGTH, (LENGTH, 4), generator=draw.generator)
    error = (model(batch + 0.1 * noise + jitter, neighbours) - batch.roll(1, 1)).square().mean()
    return error, {"error": error, "jitter": torch.tensor(jitter)}


def plain_loss(model: nn.Module, batch: Tensor, draw: Draw) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The same without randomness: equal for every division of the batch."""
    model.eval()
    items = torch.stack([torch.randn(LENGTH, 3, generator=torch.Generator().manual_seed(i)) for i in draw.indices])
    neighbours = torch.arange(LENGTH)[:, None].expand(-1, 4).roll(1, 0)
    error = (model(items, neighbours) - items.roll(1, 1)).square().mean()
    return error, {"error": error}


def run(
    directory: Path,
    config: TrainingConfig = CONFIG,
    loss: Any = noisy_loss,
    log: Any = lambda step, values: None,
    lr_scales: tuple[float, float] = (1.0, 0.1),
    execution: ExecutionConfig = EXECUTION,
) -> tuple[TrainingResult, Engine]:
    """Train the toy model with checkpoints in `directory`/work and the curve in `directory`/curve.csv."""
    torch.set_num_threads(1)
    world = init("cpu")
    model = ToyModel()
    groups = [parameter_group([model.embed], lr_scales[0]), parameter_group([model.body], lr_scales[1])]
    groups[0] = replace(groups[0], parameters=[*groups[0].parameters, model.unused])
    engine = Engine(model, groups, config, world)
    checkpoints = Checkpoints(directory / "work", {"toy": config.identity()})
    batches = Batches(NUM_ITEMS, load, config, seed=7, world=world)
    result = train(engine, batches, loss, config, execution, log, checkpoints, describe="toy")
    if world.is_main:
        write_curve(result.rows, directory / "curve.csv")
    world.wait()
    return result, engine


def _main(directory: str, loss: str, kill_at: str, *variants: str) -> None:
    """Train once for each variant (JSON of changed fields), in `directory`/0, /1, ...; SIGKILL at a logged step."""

    def log(step: int, values: Mapping[str, float]) -> None:
        if step == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    for number, changes in enumerate(variants):
        config = replace(CONFIG, **json.loads(changes))
        run(Path(directory) / str(number), config, {"noisy": noisy_loss, "plain": plain_loss}[loss], log)


if __name__ == "__main__":
    _main(*sys.argv[1:])
