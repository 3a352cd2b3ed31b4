"""Functions over clips that misbehave in every way, for the map's tests; workers import them."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import time
from multiprocessing.util import Finalize
from pathlib import Path

import numpy as np

from gvf.errors import ClipError, ConfigError


class UnpicklableError(Exception):
    """Holds what cannot leave its process, and cannot be put into words either."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __str__(self) -> str:
        raise RuntimeError("no words")


def misbehave(kind: str) -> str | None:
    """Do what `kind` says; return an innocent kind unchanged."""
    if kind == "none":
        return None
    if kind == "clip error":
        raise ClipError("motion", "stands\tstill")
    if kind == "exits 0":
        os._exit(0)
    if kind == "exits 3":
        os._exit(3)
    if kind == "sys.exit":
        sys.exit("good bye")
    if kind == "aborts":
        os.kill(os.getpid(), signal.SIGABRT)
    if kind == "segfaults":
        ctypes.string_at(0)
    if kind == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "is stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if kind == "sleeps":
        while True:
            time.sleep(60)
    if kind == "grows by lists":
        nested: list = []
        while True:
            nested = [nested, bytes(500)]
    if kind == "grows by arrays":
        arrays = []
        while True:
            arrays.append(np.ones(1 << 22))
    if kind == "grows by tensors":
        import torch

        tensors = []
        while True:
            tensors.append(torch.ones(1 << 24))
    if kind == "recursion":
        misbehave(kind)
    if kind == "key":
        return {}[object()]
    if kind == "unpicklable":
        raise UnpicklableError
    if kind == "unpicklable value":
        return lambda: None  # type: ignore[return-value]
    if kind == "disk full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "data/renders/x.npz")
    if kind == "parameter":
        raise ConfigError("render.samples", "is no good.")
    return kind


def killed_once(folder: Path) -> str:
    """Lose its worker, as if another program had killed it, when it is first called."""
    marker = folder / "killed"
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def process_id(number: int) -> int:
    return os.getpid()


def sleep_a_little(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def touch_and_sleep(path: Path) -> None:
    path.touch()
    time.sleep(600)


def ends_slowly(path: Path) -> str:
    """Leave something to do at the regular end of the worker: to write a file, after a while."""

    def write() -> None:
        time.sleep(0.5)
        path.write_text("whole")

    Finalize(None, write, exitpriority=1)
    return "done"
