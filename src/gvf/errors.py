"""What users see when something is wrong, and the exit codes that go with it (0 done, 1 failed, 2 wrong usage or bad input)."""

from __future__ import annotations

import errno

from gvf.text import clean

# What the operating system says when no clip is to blame: no room, no right to write, no handle left.
_MACHINE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}


class GvfError(Exception):
    """Base of every error whose message is meant for people; shown without a traceback."""

    exit_code = 1


class UserError(GvfError):
    """Wrong usage or bad input: the message names the file or field and says what to do."""

    exit_code = 2


class ConfigError(UserError):
    """A value of `params.yaml` that cannot be used.

    key: dotted path of the field, e.g. `train_dit.learning_rate`.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"params.yaml: {key}: {message}")
        self.key = key
        self._arguments = key, message

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, str]]:
        return type(self), self._arguments  # so that it survives a process pool


class StageError(GvfError):
    """A stage failed for a reason that is not the user's input, e.g. a loss that became NaN."""


class ClipError(Exception):
    """Something that costs one clip, never the run.

    reason: short slug recorded in the manifest (`invalid`, `motion`, `size`, `aesthetic`, ...).
    """

    def __init__(self, reason: str, message: str) -> None:
        message = clean(message)
        super().__init__(reason, message)  # both, so that the error survives a process pool
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def ends_the_run(error: BaseException) -> bool:
    """Whether an error that came up while one clip was processed is the run's and not the clip's.

    That is a wrong parameter, a failure of the machine (disk full, read-only file system, no file handles), and what
    is no Exception at all, such as Ctrl-C.
    """
    if isinstance(error, OSError):
        return error.errno in _MACHINE_ERRORS
    return isinstance(error, ConfigError) or not isinstance(error, Exception)
