"""What becomes of a clip that could not be processed."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from gvf.errors import ClipError, GvfError, ends_the_run
from gvf.text import MAX_NAME, clean

Value = TypeVar("Value")

MEMORY, TIMEOUT, CRASHED, FAILED = "memory", "timeout", "crashed", "failed"


@dataclass(frozen=True)
class Rejected:
    """A clip that could not be processed.

    reason: a slug: a ClipError's own, `memory`, `timeout`, `crashed` (its worker died) or `failed` (any other error).
    message: one clean line for people, the same in every run. exception: name of the error's type.
    """

    item_id: str
    reason: str
    message: str
    exception: str = ClipError.__name__

    @classmethod
    def of(cls, item_id: str, error: BaseException) -> Rejected:
        """What an error costs that came up while a clip was processed. Raises the error again if it is the run's."""
        if ends_the_run(error):
            raise error
        if isinstance(error, ClipError):
            return cls(item_id, error.reason, error.message)
        name = _type_name(error)
        if is_out_of_memory(
            error
        ):  # the library's own words name the allocation that failed, which differs from run to run
            return cls(item_id, MEMORY, "needs more memory than there is.", name)
        return cls(item_id, FAILED, clean(_text(error, name)), name)


def attempt(item_id: str, function: Callable[..., Value], *arguments: object) -> Value | Rejected:
    """`function(*arguments)`, or the clip rejected for whatever it raised; errors of the run pass through."""
    try:
        return function(*arguments)
    except Exception as error:
        return Rejected.of(item_id, error)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory, of the machine or of its accelerator, has run out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, and Ray's
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _TORCH_OUT_OF_MEMORY)


_TORCH_OUT_OF_MEMORY = ("can't allocate memory", "out of memory")


def _type_name(error: BaseException) -> str:
    """Name of the error's type, or of the first public one that it derives from."""
    return next(clean(kind.__name__, MAX_NAME) for kind in type(error).__mro__ if not kind.__name__.startswith("_"))


def _text(error: BaseException, name: str) -> str:
    """The error in words. Ours are made for people; any other says its type first."""
    if isinstance(error, OSError) and error.strerror:  # not its path, which may be a temporary name
        return f"{name}: {error.strerror}."
    try:
        text = str(error)
    except Exception:
        text = ""
    return text if isinstance(error, GvfError) and text else f"{name}: {text}" if text else f"{name}."
