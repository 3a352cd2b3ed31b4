"""Define the errors that users see, and their exit codes (0 success, 1 failure, 2 wrong usage or bad input)."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from gvf.text import clean

# Failures of the machine and their remedies. Libraries report some of them as text only (see `system_error`).
_REMEDIES = {
    errno.ENOSPC: "Free some space, then run the command again.",
    errno.EDQUOT: "Free some space within the quota, then run the command again.",
    errno.EROFS: "Make it writable, or work in a folder that is.",
    errno.EACCES: "Give this user the right to read and write there, then run the command again.",
    errno.EPERM: "Give this user the right to read and write there, then run the command again.",
    errno.EIO: "The device or network folder is failing: look at the system's log, then run the command again.",
    errno.ESTALE: "The network folder is gone: mount it again, then run the command again.",
    errno.ENOMEM: "Lower execution.workers or the batch size, or use a machine with more memory.",
    errno.EMFILE: "Raise the limit of open files (`ulimit -n`), or lower execution.workers.",
    errno.ENFILE: "Raise the machine's limit of open files, or lower execution.workers.",
    errno.ENAMETOOLONG: "Work in a folder with a shorter path.",
}
_ERROR_NUMBER = re.compile(r"\[errno (\d+)\]|\(os error (\d+)\)", re.IGNORECASE)
# Errors of the operating system that no clip causes: no space, no write permission, no file handles.
_MACHINE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}


class GvfError(Exception):
    """Base of every error whose message is written for users and shown without a traceback."""

    exit_code = 1


class UserError(GvfError):
    """Wrong usage or bad input: the message names the file or field and says what to do."""

    exit_code = 2


class ConfigError(UserError):
    """Values of a parameter file that cannot be used.

    key: dotted path of the field, e.g. `train_dit.training.learning_rate`. message: what is wrong and what is allowed.
    file: the file, as named in messages. more: further problems of the file, as (key, message).
    """

    MOST_LINES = 12

    def __init__(
        self, key: str, message: str, file: str = "params.yaml", more: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self.key, self.message = key, message
        self._arguments = key, message, file, more
        lines = [f"{file}: {name}: {text}" for name, text in ((key, message), *more)]
        if len(lines) > self.MOST_LINES:
            lines[self.MOST_LINES - 1 :] = [f"{file}: {len(lines) - self.MOST_LINES + 1} more problems."]
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, str, str, tuple[tuple[str, str], ...]]]:
        return type(self), self._arguments  # so that it can be passed between processes


class StageError(GvfError):
    """A stage failed for a reason that is not the user's input, e.g. a loss that became NaN."""


class ClipError(Exception):
    """An error that rejects one clip and never ends the run.

    reason: short slug recorded in the manifest (`invalid`, `motion`, `size`, `aesthetic`, ...).
    """

    def __init__(self, reason: str, message: str) -> None:
        message = clean(message)
        super().__init__(reason, message)  # both, so that the error can be passed between processes
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def ends_the_run(error: BaseException) -> bool:
    """Return whether an error raised while processing a clip must end the run instead of rejecting the clip.

    Such errors are a wrong parameter, a failure of the machine (disk full, read-only file system, no file handles), and
    anything that is not an Exception, such as Ctrl-C.
    """
    if isinstance(error, OSError):
        return error.errno in _MACHINE_ERRORS
    return isinstance(error, ConfigError) or not isinstance(error, Exception)


def system_error(error: BaseException) -> OSError | None:
    """Return the machine's failure behind an error, as an OSError with its errno, or None if there is none.

    The chain of causes is searched too; some libraries give the errno only in their message.
    """
    for cause in _causes(error):
        number = cause.errno if isinstance(cause, OSError) else None
        if number is None and (found := _ERROR_NUMBER.search(str(cause))):
            number = int(found[1] or found[2])
        if number in _REMEDIES:
            named = getattr(cause, "filename", None)
            return OSError(number, os.strerror(number), *([str(named)] if named is not None else []))
    return None


def advice(failure: OSError) -> str:
    """Return a message about a failure of the machine: where, what, and what to do."""
    where = f"{clean(str(failure.filename))}: " if failure.filename is not None else ""
    what = clean(failure.strerror or str(failure))
    return f"{where}{what[:1].lower()}{what[1:]}. {_REMEDIES.get(failure.errno or 0, '')}".rstrip()


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of that, and so on."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
