"""The real `gvf` command with a stand-in for the stage `collect`: `python command_under_test.py KIND collect`.

It writes `ready` when it is inside the stage. Kinds are the functions' names below.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from gvf import lifetime
from gvf.cli import main as cli
from gvf.cli import table

# A child in a session of its own, as launchers and pools have them, that ignores SIGTERM.
CHILD = "trap '' TERM; while true; do sleep 1; done"


def waits(params: Any, workspace: Any) -> dict[str, float]:
    child = subprocess.Popen(["bash", "-c", CHILD], start_new_session=True)
    Path("ready.tmp").write_text(f"{os.getpid()} {child.pid}")
    os.replace("ready.tmp", "ready")
    time.sleep(600)
    return {}


def hangs(params: Any, workspace: Any) -> dict[str, float]:
    """Inside a library: the interpreter gets no turn, as in a collective whose other ranks are gone."""
    import ctypes

    lifetime.GRACE_SECONDS = 0.5
    Path("ready.tmp").write_text(f"{os.getpid()}")
    os.replace("ready.tmp", "ready")
    mutex = ctypes.create_string_buffer(64)
    ctypes.CDLL(None).pthread_mutex_lock(mutex)
    ctypes.CDLL(None).pthread_mutex_lock(mutex)
    return {}


def finishes(params: Any, workspace: Any) -> dict[str, float]:
    return {"clips": 1.0}


def fails(params: Any, workspace: Any) -> dict[str, float]:
    raise KeyError("a bug")


def fills_the_disk(params: Any, workspace: Any) -> dict[str, float]:
    raise OSError(errno.ENOSPC, "No space left on device", "data/raw/clip.glb")


def is_interrupted(params: Any, workspace: Any) -> dict[str, float]:
    raise KeyboardInterrupt


if __name__ == "__main__":
    stage = ModuleType("stand_in")
    stage.run = globals()[sys.argv.pop(1)]  # type: ignore[attr-defined]
    sys.modules["stand_in"] = stage
    table.STAGES["collect"] = table.Entry("stand_in", "")
    cli.main()
