"""Find the free memory of the machine, within the limits of its container, or of a CUDA device."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

_CGROUPS = Path("/sys/fs/cgroup")
# By version of control groups: the files of the limit and of the use, and the cache in memory.stat that the system can drop.
_LIMITS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def free_bytes(device: torch.device, cgroups: Path = _CGROUPS) -> int:
    """Return how many bytes a program can still allocate on a device. cgroups: folder of the container's limits."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    limits = [_left(cgroups, *files) for files in _LIMITS]
    return min([psutil.virtual_memory().available, *(left for left in limits if left is not None)])


def _left(folder: Path, limit: str, use: str, statistics: str, cache: str) -> int | None:
    """Return the bytes left below a limit of a control group, or None where there is none."""
    try:
        most = (folder / limit).read_text().strip()
        used = int((folder / use).read_text())
        lines = (folder / statistics).read_text().splitlines()
    except (OSError, ValueError):
        return None
    if not most.isdecimal():  # `max`
        return None
    dropped = next((int(line.split()[1]) for line in lines if line.split()[:1] == [cache]), 0)
    return max(0, int(most) - used + dropped)
