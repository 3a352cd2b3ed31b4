"""Check the folder that a stage works in: one process per stage at a time, and write access to its outputs."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gvf.errors import StageError, UserError, advice
from gvf.workspace import Workspace

# A process that is being terminated takes at most this long (gvf.lifetime.GRACE_SECONDS).
WAIT_SECONDS = 15.0
_POLL_SECONDS = 0.2
_HELD = (errno.EACCES, errno.EAGAIN)

_logger = logging.getLogger(__name__)


@contextmanager
def exclusive(workspace: Workspace, stage: str) -> Iterator[None]:
    """Hold the lock of a stage, so that no other process runs it in the same workspace.

    Raises StageError naming the other process if it still runs after `WAIT_SECONDS`. The lock is released when its
    process ends, in whatever way; the lock file remains.
    """
    path = workspace.locks / f"{stage}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        _acquire(file, workspace, stage)
        file.truncate(0)
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        file.write(json.dumps(holder))
        file.flush()
        yield


def demand_writable(paths: Iterable[Path]) -> None:
    """Check that files and folders, which need not exist yet, can be written.

    paths: those without a suffix are of folders. Raises UserError naming the first folder in which no file can be created
    and written, or a file that stands in a folder's place.
    """
    for path in paths:
        if path.is_file() and not path.suffix:
            raise UserError(
                f"{path} is a file, where a folder will be written. Move it away, then run the command again."
            )
        target = path.resolve() if path.is_symlink() else path
        folder = target if target.is_dir() else target.parent
        while not folder.exists():
            folder = folder.parent
        for place in (folder, target.parent) if folder == target else (folder,):
            try:
                with tempfile.NamedTemporaryFile(dir=place, prefix=".gvf-write-test-") as file:
                    file.write(bytes(4096))
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                failure = OSError(error.errno, error.strerror, str(place))
                raise UserError(f"{path} cannot be written. {advice(failure)}") from None


def _acquire(file: IO[str], workspace: Workspace, stage: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    warned = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in _HELD:
                _logger.warning("%s: this file system has no locks (%s); do not run %s twice.", file.name, error, stage)
                return
        if time.monotonic() > deadline:
            break
        if not warned:
            _logger.warning("%s is running here already; waiting up to %.0f s for it to end.", stage, WAIT_SECONDS)
            warned = True
        time.sleep(_POLL_SECONDS)
    raise StageError(
        f"{stage} is running in {workspace.root.absolute()} already{_holder(file)}. Wait until it has ended, or end it, "
        "then run the command again."
    )


def _holder(file: IO[str]) -> str:
    """Return the lock holder's description of itself; empty while it is still writing that."""
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return f" (process {holder['pid']} on {holder['host']}, since {holder['since']})"
    except (ValueError, KeyError, TypeError):
        return ""
