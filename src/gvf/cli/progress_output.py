"""Progress of a command on the terminal, as JSON lines for scripts, or silent; all of it on stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from gvf.progress import Progress, Step
from gvf.text import clean

_REPORT_SECONDS = 0.5  # between two JSON lines of one step


class _Bar(Step):
    """A step as a bar with the time left."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self.text = ""

    def advance(self, count: int = 1) -> None:
        self._bar.update(count)

    def note(self, text: str) -> None:
        self.text = clean(text)


class TerminalProgress(Progress):
    """Shows one bar per step, with the time left where its length is known, and one line when it is done."""

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Step]:
        from tqdm import tqdm

        began = time.monotonic()
        layout = "{desc}: {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} {unit} [{elapsed}<{remaining}]"
        with tqdm(
            total=total, desc=f"{name:<10}", unit=unit, leave=False, file=sys.stderr, disable=not sys.stderr.isatty(),
            bar_format=layout if total else "{desc}: {n_fmt} {unit} [{elapsed}]",
        ) as bar:  # fmt: skip
            step = _Bar(bar)
            yield step
        text = f"  {step.text}" if step.text else ""
        click.echo(f"{name:<10} {time.monotonic() - began:6.1f} s{text}", err=True)

    def warn(self, message: str) -> None:
        click.secho(f"Warning: {message}", err=True, fg="yellow")


class _JsonStep(Step):
    def __init__(self, name: str, total: int | None, unit: str) -> None:
        self.facts: dict[str, Any] = {"step": name, "total": total, "unit": unit}
        self.done, self.text = 0, ""
        self.began = self._reported = time.monotonic()

    def advance(self, count: int = 1) -> None:
        self.done += count
        now = time.monotonic()
        if now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            total = self.facts["total"]
            seconds = now - self.began
            left = seconds / self.done * (total - self.done) if total and self.done else None
            _line({"event": "progress", **self.facts, "done": self.done, "seconds": seconds, "seconds_left": left})

    def note(self, text: str) -> None:
        self.text = clean(text)


class _JsonLog(logging.Handler):
    """Writes messages of gvf's loggers as events `warning`."""

    def emit(self, record: logging.LogRecord) -> None:
        _line({"event": "warning", "message": record.getMessage()})


class JsonProgress(Progress):
    """Writes one JSON object per line: events `begin`, `progress`, `end` of each step, and `warning`."""

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Step]:
        step = _JsonStep(name, total, unit)
        _line({"event": "begin", **step.facts})
        yield step
        _line({"event": "end", **step.facts, "seconds": time.monotonic() - step.began, "note": step.text or None})

    def warn(self, message: str) -> None:
        _line({"event": "warning", "message": message})


class QuietProgress(Progress):
    """Shows warnings only."""

    def warn(self, message: str) -> None:
        click.echo(f"Warning: {message}", err=True)


def progress_output(as_json: bool, quiet: bool) -> Progress:
    """Return the listener for the flags --json and --quiet of the command that is running.

    With --json, what gvf logs until the command ends, such as that CPU kernels are being compiled, becomes a `warning` too.
    """
    if as_json:
        _log_as_json(click.get_current_context())
        return JsonProgress()
    return QuietProgress() if quiet else TerminalProgress()


def _log_as_json(command: click.Context) -> None:
    logger, handler = logging.getLogger("gvf"), _JsonLog(logging.WARNING)
    logger.addHandler(handler)
    command.call_on_close(lambda: logger.removeHandler(handler))


def _line(event: dict[str, Any]) -> None:
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in event.items()}
    click.echo(json.dumps(rounded), err=True)
