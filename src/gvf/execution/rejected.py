"""The record of a clip that could not be processed."""

from __future__ import annotations

import errno
import pickle
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
    message: one clean, readable line, the same in every run. exception: name of the error's type.
    """

    item_id: str
    reason: str
    message: str
    exception: str = ClipError.__name__

    @classmethod
    def of(cls, item_id: str, error: BaseException) -> Rejected:
        """Return the rejection for an error raised while processing a clip. Re-raises an error that ends the run."""
        if ends_the_run(error):
            raise error
        if isinstance(error, ClipError):
            return cls(item_id, error.reason, error.message)
        name = _type_name(error)
        if is_out_of_memory(error):  # the library's message names the failed allocation, which differs from run to run
            return cls(item_id, MEMORY, "needs more memory than there is.", name)
        return cls(item_id, FAILED, clean(_text(error, name)), name)


def attempt(item_id: str, function: Callable[..., Value], *arguments: object) -> Value | Rejected:
    """Return `function(*arguments)`, or a Rejected if it raises; errors that end the run are raised."""
    try:
        return function(*arguments)
    except Exception as error:
        return Rejected.of(item_id, error)


def answer(task: bytes) -> bytes:
    """Run in a worker: return the pickled value of one item, a Rejected, or the error that ends the run.

    task: function, item and item id, pickled by the parent. Raises MemoryError, after which nothing in the worker is
    reliable.
    """
    function, item, item_id = pickle.loads(task)
    try:
        return pickle.dumps(function(item))
    except MemoryError:
        raise
    except SystemExit as error:
        return pickle.dumps(Rejected(item_id, FAILED, f"SystemExit: {error.code}", SystemExit.__name__))
    except BaseException as error:
        try:
            return pickle.dumps(Rejected.of(item_id, error))
        except BaseException as ending:
            return pickle.dumps(ending)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the machine or its accelerator has run out of memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, and Ray's
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _TORCH_OUT_OF_MEMORY)


_TORCH_OUT_OF_MEMORY = ("can't allocate memory", "out of memory")


def _type_name(error: BaseException) -> str:
    """Return the name of the error's type, or of its first public base class."""
    return next(clean(kind.__name__, MAX_NAME) for kind in type(error).__mro__ if not kind.__name__.startswith("_"))


def _text(error: BaseException, name: str) -> str:
    """Return the error's message; errors of other libraries are prefixed with their type."""
    if isinstance(error, OSError) and error.strerror:  # not its path, which may be a temporary name
        return f"{name}: {error.strerror}."
    try:
        text = str(error)
    except Exception:
        text = ""
    return text if isinstance(error, GvfError) and text else f"{name}: {text}" if text else f"{name}."
