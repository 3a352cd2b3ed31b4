"""Progress of long work, reported step by step to whoever listens: a terminal, a script, or nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Step:
    """One step of the work, such as `align`. total: its units, if they can be counted in advance."""

    def advance(self, count: int = 1) -> None:
        """Report that `count` more units are done."""

    def note(self, text: str) -> None:
        """Report a short result of this step, such as the method that was chosen."""


class Progress:
    """Receives the progress of a long piece of work; this base class ignores it. Steps follow each other, they never nest."""

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Step]:
        """Yield a step to report to. name: one or two words for people and scripts."""
        yield Step()

    def warn(self, message: str) -> None:
        """Report something that the user should know, though the work goes on."""
