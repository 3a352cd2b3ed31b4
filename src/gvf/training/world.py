"""The processes that train together, and this one's place and device among them."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from gvf.errors import StageError, UserError

# Rank 0 writes checkpoints and draws samples while the others wait.
_TIMEOUT = timedelta(hours=1)


@dataclass(frozen=True)
class World:
    """rank: 0 .. size - 1, over all machines. device: where this process computes."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files, logs and draws the progress bar."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when every process has come here: nobody leaves while another writes or still has to hear from it."""
        if self.size > 1:
            dist.barrier()


def join(device: str) -> World:
    """Enter the process group that a launcher (`deepspeed`, `torchrun`) has described, or one of this process alone.

    device: `auto`, `cpu` or `cuda`. Without a launcher no port has to be agreed on and no variable set. Calling it
    again returns the same place. Raises UserError when the GPU or the launcher's description is missing,
    StageError when this process has joined with another kind of device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("run.device is cuda, but torch sees no GPU here. Set run.device to cpu or auto.")
    local_rank = int(os.environ.setdefault("LOCAL_RANK", "0"))
    if device == "cuda":
        torch.cuda.set_device(local_rank)
    backend = "nccl" if device == "cuda" else "gloo"
    if not dist.is_initialized():
        _initialise(backend)
    elif dist.get_backend() != backend:
        raise StageError(f"this process trains on another kind of device already; train on {device} in a new one.")
    place = torch.device("cuda", local_rank) if device == "cuda" else torch.device("cpu")
    return World(dist.get_rank(), dist.get_world_size(), place)


def _initialise(backend: str) -> None:
    if "WORLD_SIZE" in os.environ:
        missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing:
            raise UserError(
                f"WORLD_SIZE is set but not {', '.join(missing)}. Start several processes with `torchrun` or "
                "`deepspeed`, or unset WORLD_SIZE to train in this one alone."
            )
        dist.init_process_group(backend, timeout=_TIMEOUT)
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=_TIMEOUT)
    atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
