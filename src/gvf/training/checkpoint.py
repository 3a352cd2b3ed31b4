"""Checkpoints to resume training from, and the export of trained weights.

A checkpoint is a directory `step-00001200` with model, average and optimiser as safetensors and the rest as JSON. It is
written under a temporary name, flushed and renamed, so an incomplete one is never read. Tensors are stored whole, one per
parameter, however the processes sharded them: a run with another number of processes or ZeRO stage can resume from it.

A checkpoint never prevents a run. A damaged one is renamed to `damaged-step-...`; those of other settings, data or models are
moved to a sibling folder, `train_dit.other-settings-<key>`, and moved back when that configuration is run again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gvf.errors import GvfError, StageError, UserError, ends_the_run
from gvf.storage.files import PathLike, fresh_directory, load_tensors, read_json, save_tensors, sha256, write_json
from gvf.text import clean

_KEPT = 2
_KEPT_DAMAGED = 2
_KEPT_OTHERS = 3  # folders of other settings that are kept
_PARTS = ("model", "average", "optimizer")
_STATE = "state.json"
_NAME = re.compile(r"step-(\d+)")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingState:
    """Everything a run needs to resume as if it had never stopped.

    step: optimiser steps done; it is also the position in the data and the source of every random number.
    model: weights and buffers. average: EMA of the trained weights. optimizer: its state by the optimiser's own names,
    such as `exp_avg/NAME` and `momentum_buffer/NAME`. progress: the loop's own record (curves so far), plain JSON values.
    """

    step: int
    model: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    progress: Mapping[str, Any]


@dataclass(frozen=True)
class _Record:
    """The content of `state.json`. files: digests of the other files."""

    step: int
    identity: Mapping[str, Any]
    progress: Mapping[str, Any]
    files: Mapping[str, str]


class _Damaged(Exception):
    """A checkpoint that cannot be used; the message names the file and says why."""


class Checkpoints:
    """The checkpoints of one run in one directory, e.g. `work/train_dit`; the last two are kept.

    identity: plain nested values that decide the result: settings, sizes, digests of the data. One process at a time
    writes; the others of a distributed run only `read`.
    """

    def __init__(self, directory: PathLike, identity: Mapping[str, Any]) -> None:
        self.directory = Path(directory)
        self._identity = dict(flatten(identity))

    def save(self, state: TrainingState) -> Path:
        """Write a checkpoint, then remove all but the last two and any files left by a killed writer.

        Raises StageError when the disk is full, saying how much space is needed; earlier checkpoints are kept.
        """
        path = self.path(state.step)
        try:
            with fresh_directory(path) as partial:
                for part in _PARTS:
                    save_tensors(partial / f"{part}.safetensors", getattr(state, part))
                record = {
                    "step": state.step,
                    "identity": self._identity,
                    "progress": dict(state.progress),
                    "files": {file.name: sha256(file) for file in sorted(partial.iterdir())},
                }
                write_json(partial / _STATE, record)
                for file in partial.iterdir():
                    _flush(file)
            _flush(self.directory)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._no_room(state) from error
            raise
        for old in self._paths()[:-_KEPT]:
            shutil.rmtree(old)
        for abandoned in self.directory.glob("step-*.partial"):
            shutil.rmtree(abandoned)
        return path

    def latest(self, max_step: int | None = None) -> TrainingState | None:
        """Read the newest intact checkpoint of this run; None if there is none.

        max_step: later checkpoints are treated like those of other settings. Unusable checkpoints are set aside, with
        one warning that says why and where they are. Checkpoints of this run that were set aside earlier are restored.
        """
        self._set_others_aside(max_step)
        self._take_back(max_step)
        damaged = []
        state = None
        for path in reversed(self._paths()):
            try:
                state = self._load(path)
                break
            except _Damaged as error:
                damaged.append(str(error))
                _replace_directory(path, path.with_name(f"damaged-{path.name}"))
        if damaged:
            kept = sorted(self.directory.glob("damaged-step-*"), key=lambda path: int(path.name.rpartition("-")[2]))
            for old in kept[:-_KEPT_DAMAGED]:
                shutil.rmtree(old, ignore_errors=True)
            then = (
                f"resuming from {self.path(state.step)}"
                if state
                else "no intact one is left: training starts from the beginning"
            )
            _logger.warning("Damaged checkpoints are set aside as damaged-*: %s; %s.", "; ".join(damaged), then)
        return state

    def read(self, step: int) -> TrainingState:
        """Read the checkpoint of one step. Raises StageError when it is missing here or damaged."""
        try:
            return self._load(self.path(step))
        except _Damaged as error:
            raise StageError(
                f"{error}. The first process could read this checkpoint: put {self.directory} on a file system that all "
                "processes share."
            ) from None

    def newest(self) -> Path | None:
        """Return the path of the newest checkpoint, if any."""
        paths = self._paths()
        return paths[-1] if paths else None

    def path(self, step: int) -> Path:
        """Return the path of the checkpoint of a step, whether it exists or not."""
        return self.directory / f"step-{step:08d}"

    def clear(self) -> None:
        """Remove every checkpoint: the model has been exported, and the next run starts from the beginning."""
        remove_checkpoints(self.directory)

    def _paths(self) -> list[Path]:
        return _checkpoints_in(self.directory)

    def _load(self, path: Path) -> TrainingState:
        record = _read_record(path)
        tensors = {}
        for part in _PARTS:
            file = path / f"{part}.safetensors"
            try:
                if sha256(file) != record.files.get(file.name):
                    raise _Damaged(f"{file} is not what was written")
                tensors[part] = load_tensors(file)
            except (OSError, GvfError) as error:
                raise _damage(file, error) from error
        return TrainingState(step=record.step, progress=record.progress, **tensors)

    def _set_others_aside(self, max_step: int | None) -> None:
        """Move checkpoints of other settings, and those past `max_step`, each to the folder of its settings."""
        reasons: dict[Path, str] = {}
        for path in self._paths():
            try:
                record = _read_record(path)
            except _Damaged:
                continue  # `latest` reports it when it reads the checkpoint
            late = max_step is not None and record.step > max_step
            reason = self._difference(record.identity)
            if not reason and late:
                reason = f"training.steps (step {record.step} then, {max_step} now)"
            if reason:
                aside = self._aside(record.identity)
                reasons[aside] = reason
                _replace_directory(path, aside / path.name)
        for aside, reason in reasons.items():
            _logger.warning(
                "%s: checkpoints of a run with other settings or data are set aside in %s: %s. Training does not resume "
                "from them; set these back to do so.",
                self.directory,
                aside,
                reason,
            )
        if reasons:
            folders = sorted(self.directory.parent.glob(f"{self.directory.name}.other-settings-*"), key=_age)
            for old in [folder for folder in folders if folder not in reasons][: max(len(folders) - _KEPT_OTHERS, 0)]:
                _logger.warning("%s: removed; the newest %d such folders are kept.", old, _KEPT_OTHERS)
                shutil.rmtree(old, ignore_errors=True)

    def _take_back(self, max_step: int | None) -> None:
        aside = self._aside(self._identity)
        if not aside.is_dir():
            return
        for path in _checkpoints_in(aside):
            if (max_step is None or _step(path) <= max_step) and not (self.directory / path.name).exists():
                _replace_directory(path, self.directory / path.name)
        if not any(aside.iterdir()):
            aside.rmdir()

    def _aside(self, identity: Mapping[str, Any]) -> Path:
        text = json.dumps(dict(identity), sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:8]
        return self.directory.with_name(f"{self.directory.name}.other-settings-{key}")

    def _difference(self, written: Mapping[str, Any]) -> str:
        """Describe the values that differ between this run and the one that wrote a checkpoint; empty if none do."""
        names = sorted(
            name for name in written.keys() | self._identity if written.get(name) != self._identity.get(name)
        )
        changes = ", ".join(
            f"{name} ({clean(str(written.get(name, 'absent')), 60)} then, "
            f"{clean(str(self._identity.get(name, 'absent')), 60)} now)"
            for name in names[:5]
        )
        return changes + (f" and {len(names) - 5} more" if len(names) > 5 else "")

    def _no_room(self, state: TrainingState) -> StageError:
        tensors = [tensor for part in _PARTS for tensor in getattr(state, part).values()]
        needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6
        free = shutil.disk_usage(self.directory).free / 1e6
        last = self.newest()
        kept = f"The next run resumes from {last}" if last else "No checkpoint had been written yet"
        return StageError(
            f"{self.directory}: no room for the checkpoint of step {state.step}: it needs {needed:,.1f} MB, "
            f"{free:,.1f} MB are free. {kept}. Free some space, then run the stage again."
        )


def remove_checkpoints(directory: PathLike) -> None:
    """Remove the checkpoints of a run with their directory, if it exists."""
    shutil.rmtree(directory, ignore_errors=True)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one with dotted names; tuples become lists, as JSON makes them."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat


def shapes_digest(model: nn.Module) -> str:
    """Return a digest of the names, shapes and trainability of a model's weights; equal for compatible checkpoints."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    shapes = {name: (list(tensor.shape), name in trained) for name, tensor in model.state_dict().items()}
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:16]


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Return copies on the CPU of every weight and persistent buffer; tied weights appear once per name."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def restore_state(model: nn.Module, tensors: Mapping[str, Tensor], source: PathLike) -> None:
    """Copy tensors into a model in place. Raises UserError naming what is missing, left over or of another shape."""
    try:
        with torch.no_grad():
            model.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise UserError(f"{source}: the weights do not fit the model. {' '.join(str(error).split())}") from None


def _checkpoints_in(directory: Path) -> list[Path]:
    """Return the checkpoints in a directory in order of their steps."""
    if not directory.is_dir():
        return []
    return sorted((path for path in directory.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()), key=_step)


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _age(path: Path) -> float:
    return path.stat().st_mtime


def _read_record(path: Path) -> _Record:
    """Read `state.json`. Raises _Damaged when it is missing, truncated or not as `save` writes it."""
    file = path / _STATE
    try:
        record = read_json(file)
    except (OSError, GvfError, ValueError) as error:
        raise _damage(file, error) from error
    expected = {"step": int, "identity": dict, "progress": dict, "files": dict}
    if not isinstance(record, dict) or any(not isinstance(record.get(name), kind) for name, kind in expected.items()):
        raise _Damaged(f"{file} does not describe a checkpoint")
    if record["step"] != _step(path):
        raise _Damaged(f"{file} describes step {record['step']}")
    return _Record(**{name: record[name] for name in expected})


def _damage(file: Path, error: Exception) -> _Damaged:
    """Return why a file cannot be read. Raises a failure of the machine, such as a lack of file handles, unchanged."""
    if ends_the_run(error):
        raise error
    try:
        file.stat()
    except FileNotFoundError:
        return _Damaged(f"{file} is missing")
    except OSError:
        pass  # `error` has the same cause
    return _Damaged(f"{file} cannot be read ({clean(str(error).removeprefix(f'{file}: '))})")


def _replace_directory(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(source, target)  # the folder may be a link to another disk


def _flush(path: Path) -> None:
    """Make a file's or directory's content survive a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
