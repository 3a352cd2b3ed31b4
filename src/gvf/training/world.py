"""The processes that train together, and this one's rank and device."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from gvf.devices import resolve_device
from gvf.errors import StageError, UserError

# Rank 0 writes checkpoints while the others wait.
_TIMEOUT = timedelta(hours=1)


@dataclass(frozen=True)
class World:
    """This process among all that train together.

    rank: 0 .. size - 1, over all machines. device: where this process computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Return whether this is rank 0, which writes files, logs and draws the progress bar."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when every process has called this, so that none exits while another still writes or needs it."""
        if self.size > 1:
            dist.barrier()


def init(device: str) -> World:
    """Join the process group that a launcher (`deepspeed`, `torchrun`) describes, or create one of this process alone.

    device: `auto`, `cpu` or `cuda`. Without a launcher it needs no port and no environment variable. Calling it again
    returns an equal World. Raises UserError when the GPU or part of the launcher's description is missing, StageError
    when this process has joined with another kind of device.
    """
    device = resolve_device(device).type
    local_rank = int(os.environ.setdefault("LOCAL_RANK", "0"))
    if device == "cuda":
        torch.cuda.set_device(local_rank)
    backend = "nccl" if device == "cuda" else "gloo"
    if not dist.is_initialized():
        _initialise(backend)
    elif dist.get_backend() != backend:
        raise StageError(f"this process already trains on another kind of device; train on {device} in a new process.")
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
