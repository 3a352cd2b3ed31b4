"""State to resume training from, and the weights that training hands on.

A checkpoint is a directory `step-00001200` with model, average and optimiser as safetensors and the rest as JSON. It is
written beside its name, flushed and renamed, so one that is half written is never taken. Tensors are whole, one a
parameter, however the processes had divided them: another number of processes or ZeRO stage can go on from it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gvf.errors import UserError
from gvf.files import PathLike, fresh_directory, load_tensors, read_json, save_tensors, write_json

_KEPT = 2
_PARTS = ("model", "average", "optimizer")


@dataclass(frozen=True)
class TrainingState:
    """Everything a run needs to go on as if it had never stopped.

    step: optimiser steps done; it is also the position in the data and the source of every random number.
    model: weights and buffers. average: EMA of the trained weights. optimizer: `exp_avg/NAME`, `exp_avg_sq/NAME`,
    `step/NAME`. progress: the loop's own record (curves so far), plain JSON values.
    """

    step: int
    model: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    progress: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one run in one directory, e.g. `work/train_dit`; the last two are kept.

    identity: plain nested values that decide the result: settings, sizes, digests of the data.
    """

    def __init__(self, directory: PathLike, identity: Mapping[str, Any]) -> None:
        self.directory = Path(directory)
        self._identity = dict(flatten(identity))

    def save(self, state: TrainingState) -> Path:
        """Write a checkpoint, then remove all but the last two and what a killed writer left."""
        path = self.directory / f"step-{state.step:08d}"
        with fresh_directory(path) as partial:
            for part in _PARTS:
                save_tensors(partial / f"{part}.safetensors", getattr(state, part))
            record = {"step": state.step, "identity": self._identity, "progress": dict(state.progress)}
            write_json(partial / "state.json", record)
            for file in partial.iterdir():
                _flush(file)
        _flush(self.directory)
        for old in self._paths()[:-_KEPT]:
            shutil.rmtree(old)
        for abandoned in self.directory.glob("step-*.partial"):
            shutil.rmtree(abandoned)
        return path

    def latest(self) -> TrainingState | None:
        """Read the newest checkpoint, or None where there is none.

        Raises UserError when it belongs to a run with another identity, naming what differs, or when it is damaged.
        """
        path = self.newest()
        if path is None:
            return None
        record = read_json(path / "state.json")
        self._refuse_another(path, record["identity"])
        tensors = {part: load_tensors(path / f"{part}.safetensors") for part in _PARTS}
        return TrainingState(step=record["step"], progress=record["progress"], **tensors)

    def newest(self) -> Path | None:
        """Where the newest whole checkpoint is."""
        paths = self._paths()
        return paths[-1] if paths else None

    def clear(self) -> None:
        """Remove every checkpoint: what they led to has been exported, and the next run starts afresh."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.directory.glob("step-*") if path.suffix != ".partial")

    def _refuse_another(self, path: Path, written: Mapping[str, Any]) -> None:
        names = sorted(
            name for name in written.keys() | self._identity if written.get(name) != self._identity.get(name)
        )
        if names:
            changes = ", ".join(
                f"{name} ({written.get(name, 'absent')} then, {self._identity.get(name, 'absent')} now)"
                for name in names[:5]
            )
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise UserError(
                f"{path}: this checkpoint is from a run with other settings or data: {changes}{more}. "
                f"Set them back to resume it, or delete {self.directory} to start afresh."
            )


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names of nested mappings; tuples become lists, as a trip through JSON makes them."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat


def export(model: nn.Module, config: Mapping[str, Any], directory: PathLike) -> None:
    """Write `model.safetensors` and `config.json` as one: what the stages after training load.

    config: plain values the model can be built from again. The weights are those in `model` now; to publish the average
    call it inside `Engine.averaged()`.
    """
    with fresh_directory(directory) as partial:
        save_tensors(partial / "model.safetensors", whole_state(model))
        write_json(partial / "config.json", dict(config))


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Copies on the CPU of every weight and persistent buffer; tied weights are written once for each name."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def restore_state(model: nn.Module, tensors: Mapping[str, Tensor], source: PathLike) -> None:
    """Copy tensors into a model in place. Raises UserError naming what is missing, left over or of another shape."""
    try:
        with torch.no_grad():
            model.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise UserError(f"{source}: the weights do not fit the model. {' '.join(str(error).split())}") from None


def _flush(path: Path) -> None:
    """Make a file's or directory's content survive a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
