"""The guard: exit codes pass through, and nothing outlives the one who started it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
# A stage with a child in a session of its own and a grandchild that ignores SIGTERM.
STUBBORN = """
setsid sleep 3001 &
(bash -c 'trap "" TERM; while true; do sleep 3002; done' &)
echo started
sleep 3003
"""
RUN = """
import sys
from flows import guard
guard.GRACE_SECONDS = 1.0
sys.exit(guard.main(["bash", "-c", sys.argv[1]]))
"""


def guarded(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def started(guard: subprocess.Popen[str]) -> list[psutil.Process]:
    """Every process below the guard once all of STUBBORN runs: four sleeps and shells or more."""
    assert guard.stdout is not None
    assert guard.stdout.readline() == "started\n"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        below = psutil.Process(guard.pid).children(recursive=True)
        commands = " ".join(" ".join(process.cmdline()) for process in below)
        if all(f"sleep {number}" in commands for number in (3001, 3002, 3003)):
            return below
        time.sleep(0.05)
    raise AssertionError(f"only {below} started")


def assert_all_end(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_exit_code_and_output_pass_through() -> None:
    for script, output, code in (("echo out; exit 7", "out\n", 7), ("kill -KILL $$", "", 137)):
        guard = guarded(script)
        assert guard.stdout is not None
        assert guard.stdout.read() == output
        assert guard.wait(30) == code


def test_closing_the_lifeline_ends_every_descendant() -> None:
    guard = guarded(STUBBORN)
    below = started(guard)
    assert guard.stdin is not None
    guard.stdin.close()
    assert_all_end(below)
    assert guard.wait(30) == 143


def test_sigterm_ends_every_descendant() -> None:
    guard = guarded(STUBBORN)
    below = started(guard)
    guard.terminate()
    assert_all_end(below)
    assert guard.wait(30) == 143


def test_what_a_finished_command_left_running_is_ended() -> None:
    guard = guarded("setsid sleep 3004 & echo started")
    assert guard.stdout is not None
    assert guard.stdout.readline() == "started\n"
    assert guard.wait(30) == 0
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "3004"]]
