"""One map over clips: results keep their order, and in every executor a failing clip affects no other clip."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path
from subprocess import PIPE

import pytest
from pebble import ProcessPool

from gvf.config.execution import ExecutionConfig
from gvf.errors import ClipError, ConfigError, UserError
from gvf.execution.clip_map import Rejected, map_clips
from gvf.execution.processes import _Context
from tests.execution.bad_clips import ends_slowly, killed_once, misbehave, process_id, sleep_a_little
from tests.sections import execution_section

# kind of misbehaviour -> what becomes of the clip where workers are processes
EXCEPTIONS = {
    "clip error": ("motion", "stands still", "ClipError"),
    "recursion": ("failed", "RecursionError: maximum recursion depth exceeded", "RecursionError"),
    "key": ("failed", "KeyError: <object object at 0x...>", "KeyError"),
    "unpicklable": ("failed", "UnpicklableError.", "UnpicklableError"),
}
DEATHS = {
    "exits 0": ("crashed", "its worker process ended with exit code 0.", "ProcessExpired"),
    "exits 3": ("crashed", "its worker process ended with exit code 3.", "ProcessExpired"),
    "aborts": ("crashed", "its worker process died of SIGABRT.", "ProcessExpired"),
    "segfaults": ("crashed", "its worker process died of SIGSEGV.", "ProcessExpired"),
    "is killed": (
        "crashed",
        "its worker process was killed (SIGKILL), as the system does when memory runs out.",
        "ProcessExpired",
    ),
    "sys.exit": ("failed", "SystemExit: good bye", "SystemExit"),
    "grows by lists": ("memory", "needs more than 0.3 GB of memory (execution.clip_memory_gb).", "MemoryError"),
    "grows by arrays": ("memory", "needs more than 0.3 GB of memory (execution.clip_memory_gb).", "MemoryError"),
}
HANGS = {
    "is stopped": ("timeout", "took longer than 3 s (execution.clip_seconds).", "TimeoutError"),
    "sleeps": ("timeout", "took longer than 3 s (execution.clip_seconds).", "TimeoutError"),
}


def run_config(executor: str, workers: int = 2, seconds: float = 60.0, gigabytes: float = 4.0) -> ExecutionConfig:
    return execution_section(executor=executor, workers=workers, clip_seconds=seconds, clip_memory_gb=gigabytes)


def among_innocents(kinds: list[str]) -> list[str]:
    """Every kind between two innocent clips."""
    return ["innocent 0", *(part for i, kind in enumerate(kinds, 1) for part in (kind, f"innocent {i}"))]


def expected(items: list[str], costs: dict[str, tuple[str, str, str]]) -> list[str | Rejected]:
    return [Rejected(item, *costs[item]) if item in costs else item for item in items]


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_any_exception_costs_its_clip_and_results_keep_their_order(executor):
    items = among_innocents(list(EXCEPTIONS))
    results = map_clips(misbehave, items, run_config(executor), "test")
    cleaned = [
        Rejected(r.item_id, r.reason, r.message.partition(" while")[0].partition(" in comparison")[0], r.exception)
        if isinstance(r, Rejected)
        else r
        for r in results
    ]
    assert cleaned == expected(items, EXCEPTIONS)


def test_a_worker_that_dies_or_fills_the_memory_costs_its_clip():
    items = among_innocents(list(DEATHS))
    assert map_clips(misbehave, items, run_config("process", gigabytes=0.3), "test") == expected(items, DEATHS)


def test_memory_that_torch_takes_counts_too():
    (result,) = map_clips(misbehave, ["grows by tensors"], run_config("process", gigabytes=1.5), "test")
    assert result == Rejected("grows by tensors", "memory", "needs more memory than there is.", "RuntimeError")


def test_a_clip_that_hangs_or_whose_worker_is_stopped_is_given_up():
    items = among_innocents(list(HANGS))
    assert map_clips(misbehave, items, run_config("process", seconds=3.0), "test") == expected(items, HANGS)


def test_a_single_clip_has_a_process_and_its_limits_too():
    (result,) = map_clips(misbehave, ["exits 3"], run_config("process", workers=1), "test")
    assert result == Rejected("exits 3", *DEATHS["exits 3"])
    (value,) = map_clips(process_id, [1], run_config("process", workers=1), "test")
    assert value != os.getpid()


def test_a_value_that_cannot_be_sent_costs_its_clip():
    first, bad, last = map_clips(misbehave, ["a", "unpicklable value", "b"], run_config("process"), "test")
    assert (first, last) == ("a", "b")
    assert (bad.reason, "pickle" in bad.message) == ("failed", True)


def test_a_clip_whose_worker_is_killed_from_outside_gets_another_chance(tmp_path):
    assert map_clips(killed_once, [tmp_path], run_config("process"), "test") == ["done"]


def test_a_clip_that_a_dying_worker_never_began_gets_another_worker(monkeypatch):
    broken, schedule = iter([True, True]), ProcessPool.schedule

    def schedule_or_break(pool, *arguments, **options):
        if not next(broken, False):
            return schedule(pool, *arguments, **options)
        future: Future[bytes] = Future()
        future.set_exception(BrokenProcessPool("the pool is stopping"))
        return future

    monkeypatch.setattr(ProcessPool, "schedule", schedule_or_break)
    items = ["innocent 0", "innocent 1"]
    assert map_clips(misbehave, items, run_config("process", workers=1), "test") == expected(items, {})
    broken = iter([True] * 3)
    (rejected, innocent) = map_clips(misbehave, items, run_config("process", workers=1), "test")
    assert (rejected.item_id, rejected.reason, rejected.exception) == ("innocent 0", "crashed", "BrokenProcessPool")
    assert innocent == expected(items, {})[1]


def test_time_in_the_queue_does_not_count():
    run = run_config("process", workers=2, seconds=2.0)
    assert map_clips(sleep_a_little, [0.7] * 8, run, "test") == [0.7] * 8


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_none_is_a_value(executor):
    assert map_clips(misbehave, ["a", "none", "b"], run_config(executor), "test") == ["a", None, "b"]


@pytest.mark.parametrize("executor", ["inline", "process"])
@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("disk full", OSError, r"\[Errno 28\] No space left"),
        ("parameter", ConfigError, "^params.yaml: render.samples: is"),
    ],
)
def test_errors_of_the_run_end_it_as_they_are(executor, kind, error, message):
    with pytest.raises(error, match=message):
        map_clips(misbehave, ["a", kind, "b", "c"], run_config(executor), "test")


def test_messages_are_clean_and_user_errors_are_one_clips():
    def fail(error: Exception) -> None:
        raise error

    errors = [
        UserError("a.npz: bad\x00"),
        ClipError("invalid", "no\nfaces"),
        OSError(5, "Input/output error", ".a.77.npz"),
    ]
    results = map_clips(fail, errors, run_config("inline"), "test", lambda error: type(error).__name__)
    assert results == [
        Rejected("UserError", "failed", "a.npz: bad", "UserError"),
        Rejected("ClipError", "invalid", "no faces", "ClipError"),
        Rejected("OSError", "failed", "OSError: Input/output error.", "OSError"),
    ]


def test_process_executor_leaves_this_process_and_its_environment():
    before = dict(os.environ)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    ids = map_clips(process_id, [1, 2, 3, 4], run_config("process"), "test")
    assert os.getpid() not in ids
    assert dict(os.environ) == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, set()) == mask


def test_no_worker_outlives_the_map():
    ids = map_clips(process_id, [1, 2, 3, 4], run_config("process"), "test")
    assert not any(Path(f"/proc/{number}").exists() for number in ids)


def test_workers_without_work_end_by_themselves(tmp_path):
    """What is written at the end of a process is whole: a worker is not killed while it ends."""
    assert map_clips(ends_slowly, [tmp_path / "a", tmp_path / "b"], run_config("process"), "test") == ["done", "done"]
    assert [(tmp_path / name).read_text() for name in "ab"] == ["whole", "whole"]


def test_ctrl_c_stops_the_workers_at_once_and_prints_no_traceback_of_theirs(tmp_path):
    code = (
        "from pathlib import Path\n"
        "from gvf.execution.clip_map import map_clips\n"
        "from tests.execution.bad_clips import touch_and_sleep\n"
        "from tests.execution.test_clip_map import run_config\n"
        f"paths = [Path({str(tmp_path)!r}) / name for name in 'abc']\n"
        "try:\n    map_clips(touch_and_sleep, paths, run_config('process', seconds=900.0), 'test')\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=PIPE, stderr=PIPE, text=True, env=env, start_new_session=True
    )
    while len(list(tmp_path.iterdir())) < 2:  # both workers are at work
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)  # not the 600 seconds that the clips take
    assert (process.returncode, out) == (0, "interrupted\n")
    assert "Traceback" not in err


def test_nothing_to_do():
    for executor in ("inline", "process", "ray"):
        assert map_clips(process_id, [], run_config(executor), "test") == []


def test_threads_that_ask_at_once_read_the_same_exit_code(monkeypatch):
    """Pebble's threads do; the fork server writes the code once, and whoever reads it second would find nothing."""
    read = forkserver.read_signed

    def slowly(handle):
        time.sleep(0.2)
        return read(handle)

    monkeypatch.setattr(forkserver, "read_signed", slowly)
    worker = _Context().Process(target=os.abort)
    worker.start()
    wait([worker.sentinel], 60)
    with ThreadPoolExecutor(4) as threads:
        codes = list(threads.map(lambda _: worker.exitcode, range(4)))
    assert codes == [-signal.SIGABRT] * 4
