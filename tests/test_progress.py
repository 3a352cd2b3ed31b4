"""Steps of long work reach the listener; the stopwatch keeps their seconds even when a step fails."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click
import pytest

from gvf.cli.progress_output import JsonProgress, QuietProgress, TerminalProgress, progress_output
from gvf.progress import Progress, Step, Stopwatch


class Recorder(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.messages: list[str] = []

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Step]:
        self.steps.append(name)
        yield Step()

    def warn(self, message: str) -> None:
        self.messages.append(message)


def test_the_stopwatch_passes_everything_on_and_adds_up_seconds():
    recorder = Recorder()
    watch = Stopwatch(recorder)
    for _ in range(2):
        with watch.step("align", 3, "views") as step:
            step.advance()
    watch.warn("blurred")
    assert recorder.steps == ["align", "align"]
    assert recorder.messages == watch.warnings == ["blurred"]
    assert watch.seconds.keys() == {"align"}
    assert watch.seconds["align"] >= 0.0


def test_a_failed_step_is_timed_and_its_error_goes_on():
    watch = Stopwatch(Progress())
    with pytest.raises(ValueError, match="broken"), watch.step("read"):
        raise ValueError("broken")
    assert "read" in watch.seconds


def test_scripts_get_one_json_object_per_line(capsys: pytest.CaptureFixture[str]):
    with click.Context(click.Command("generate")):
        progress = progress_output(as_json=True, quiet=False)
        assert isinstance(progress, JsonProgress)
        with progress.step("motion", 2, "calls") as step:
            step.advance(2)
            logging.getLogger("gvf.compiled.kernels").warning("gvf: compiling CPU kernels")
            step.note("two\nlines")
        progress.warn("careful")
    logging.getLogger("gvf.compiled.kernels").warning("after the command")
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["event"] for event in events] == ["begin", "warning", "end", "warning"]
    assert events.pop(1)["message"] == "gvf: compiling CPU kernels"
    assert events[1]["note"] == "two lines"
    assert events[0]["total"] == 2


def test_quiet_shows_warnings_only(capsys: pytest.CaptureFixture[str]):
    progress = progress_output(as_json=False, quiet=True)
    assert isinstance(progress, QuietProgress)
    with progress.step("motion"):
        pass
    progress.warn("careful")
    assert capsys.readouterr().err == "Warning: careful\n"


def test_the_terminal_shows_one_line_per_step(capsys: pytest.CaptureFixture[str]):
    progress = progress_output(as_json=False, quiet=False)
    assert isinstance(progress, TerminalProgress)
    with progress.step("align", 3, "views") as step:
        step.note("azimuth 12")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("align")
    assert line.endswith("azimuth 12")
