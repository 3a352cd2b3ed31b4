"""Interface of a training task: a model, batches, a loss and parameter groups; `fit` trains any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from gvf.config.training import TrainingConfig
from gvf.training.batches import Draw
from gvf.training.optimizer import ParameterGroup

Model = TypeVar("Model", bound=nn.Module)
Batch = TypeVar("Batch")


class Task(Protocol[Model, Batch]):
    """One of the trainings in `gvf.training.tasks`; it can be used, and tested, without `fit`.

    A task reads data through functions it is given, and knows neither a workspace nor the engine.
    """

    @property
    def name(self) -> str:
        """Return the name of the DVC stage, such as `train-dit`."""

    @property
    def training(self) -> TrainingConfig:
        """Return the settings of the optimiser and the loop."""

    @property
    def sections(self) -> Mapping[str, Any]:
        """Return the configuration sections that decide the result; they are part of a checkpoint's identity."""

    @property
    def inputs(self) -> Sequence[Path]:
        """Return the files that decide the result; their digests are part of a checkpoint's identity."""

    @property
    def clips(self) -> Sequence[str]:
        """Return the ids of the training clips; a Draw's indices point into them."""

    def build(self) -> Model:
        """Return the model as training starts from it, with frozen weights marked as such."""

    def parameter_groups(self, model: Model) -> Sequence[ParameterGroup]:
        """Return groups that hold every trainable parameter of the model exactly once."""

    def load(self, draw: Draw) -> Batch:
        """Read a batch, on the CPU. It may run in a thread ahead of its step, so it draws from `draw.generator` only."""

    def loss(self, model: Model, batch: Batch, draw: Draw) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Compute the mean loss over the items of a batch, and scalars to plot.

        It runs under autocast: what needs float32 (rendering, solvers) opens its own `torch.autocast(..., enabled=False)`.
        """

    def save(self, model: Model, folder: Path) -> None:
        """Write the trained model as later stages read it. Called with the averaged weights in eval mode."""
