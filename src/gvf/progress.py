"""Report the progress of long work, step by step, to a terminal, to a script, or to nobody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Step:
    """One step of the work, such as `align`."""

    def advance(self, count: int = 1) -> None:
        """Report that `count` more units are done."""

    def note(self, text: str) -> None:
        """Report a short result of this step, such as the method that was chosen."""


class Progress:
    """Receives the progress of a long piece of work; this base class ignores it. Steps follow each other, they never nest."""

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Step]:
        """Yield a step to report to. name: one or two words for people and scripts. total: its units, where they are known."""
        yield Step()

    def warn(self, message: str) -> None:
        """Report something that the user should know, though the work goes on."""


class Stopwatch(Progress):
    """Passes everything on to another listener and keeps the wall-clock seconds of each step.

    seconds: by name; steps of the same name add up. warnings: in the order in which they came.
    """

    @classmethod
    def of(cls, listener: Progress | None) -> Stopwatch:
        """Return the listener itself if it is a stopwatch, so that steps of several callers add up; else one around it."""
        return listener if isinstance(listener, Stopwatch) else cls(listener or Progress())

    def __init__(self, listener: Progress) -> None:
        self.listener = listener
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Step]:
        began = time.monotonic()
        try:
            with self.listener.step(name, total, unit) as step:
                yield step
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    def warn(self, message: str) -> None:
        self.warnings.append(message)
        self.listener.warn(message)
