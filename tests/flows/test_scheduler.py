"""The order of stages, stages side by side, failures, and the same with a real DVC project."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import yaml

from flows import processes, repro, scheduler
from flows.scheduler import StagesFailed, run_graph
from flows.stage_graph import GraphUnknown, StageGraph

ROOT = Path(__file__).resolve().parents[2]
# Two branches: the short one comes first in DVC's order.
GRAPH = StageGraph.of(
    ["data", "short", "static", "joint", "report"],
    [("data", "short"), ("data", "static"), ("static", "joint"), ("joint", "report"), ("short", "report")],
)


def test_stages_start_once_their_inputs_are_ready_the_longest_path_first() -> None:
    assert GRAPH.ready(set(), set()) == ["data"]
    assert GRAPH.ready({"data"}, {"data"}) == ["static", "short"]
    assert GRAPH.ready({"data"}, {"data", "static"}) == ["short"]
    assert GRAPH.ready({"data", "static", "short"}, {"data", "static", "short", "joint"}) == []


def test_parts_of_a_graph() -> None:
    assert set(GRAPH.up_to(["joint"]).needs) == {"data", "static", "joint"}
    assert GRAPH.up_to_date(set()) == set(GRAPH.needs)
    assert GRAPH.up_to_date({"static"}) == {"data", "short"}
    assert GRAPH.without({"data", "short"}).ready(set(), set()) == ["static"]


class Stages:
    """Stages that note when they run; a stage in `waits_for` waits until the other one has begun."""

    def __init__(self, fail: set[str] = frozenset(), waits_for: dict[str, str] | None = None) -> None:  # type: ignore[assignment]
        self.fail, self.waits_for = fail, waits_for or {}
        self.begun = {stage: threading.Event() for stage in GRAPH.needs}
        self.ended: list[str] = []
        self.running = self.most = 0
        self.lock = threading.Lock()

    def __call__(self, stage: str) -> None:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        assert GRAPH.needs[stage] <= set(self.ended)
        self.begun[stage].set()
        if stage in self.waits_for:
            assert self.begun[self.waits_for[stage]].wait(30)
        with self.lock:
            self.running -= 1
            if stage not in self.fail:
                self.ended.append(stage)
        if stage in self.fail:
            raise ValueError(f"{stage} is broken")


def run(stages: Stages, at_once: int) -> None:
    with ThreadPoolExecutor(8) as pool:
        run_graph(GRAPH, lambda stage: pool.submit(stages, stage), at_once)


def test_independent_stages_run_at_the_same_time_but_no_more_than_allowed() -> None:
    stages = Stages(waits_for={"short": "joint", "static": "short"})  # possible only side by side
    run(stages, 2)
    assert stages.most == 2
    assert set(stages.ended) == set(GRAPH.needs)
    alone = Stages()
    run(alone, 1)
    assert alone.ended == ["data", "static", "short", "joint", "report"]
    assert alone.most == 1


def test_a_failure_leaves_out_what_depends_on_it_and_nothing_else() -> None:
    stages = Stages(fail={"static"}, waits_for={"static": "short"})
    with pytest.raises(
        StagesFailed, match=r"(?s)static failed. static is broken.*Not run.*: joint, report\.$"
    ) as caught:
        run(stages, 2)
    assert stages.ended == ["data", "short"]
    assert set(caught.value.failures) == {"static"}


def test_an_interrupted_run_ends_its_commands_and_starts_none() -> None:
    started = threading.Event()

    def submit(stage: str) -> Future[None]:
        if stage == "short":
            started.wait(60)
            raise KeyboardInterrupt  # as Ctrl-C does in the main thread
        return pool.submit(command, stage)

    def command(stage: str) -> None:
        text = "true" if stage == "data" else "echo begun; sleep 3021"
        processes.run(["bash", "-c", text], lambda line: started.set())

    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(KeyboardInterrupt):
            run_graph(GRAPH, submit, 2)
        with pytest.raises(processes.Interrupted):
            processes.run(["true"], print)


@pytest.mark.parametrize(("text", "count"), [("execution: {stages_at_once: 3}", 3), ("execution: {}", 1), ("a: [", 1)])
def test_the_number_of_stages_at_once_comes_from_params_yaml(
    text: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    (tmp_path / "params.yaml").write_text(text)
    assert scheduler.stages_at_once() == count


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a DVC project with two stages that each wait until the other one runs, and one that needs both."""
    wait = "touch {0}.begun; for i in $(seq 600); do [ -e {1}.begun ] && break; sleep 0.1; done; [ -e {1}.begun ] && "
    stages = {
        "left": {"cmd": wait.format("left", "right") + "echo left > left.txt", "outs": ["left.txt"]},
        "right": {"cmd": wait.format("right", "left") + "echo right > right.txt", "outs": ["right.txt"]},
        "both": {"cmd": "cat *.txt > all", "deps": ["left.txt", "right.txt"], "outs": ["all"]},
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (tmp_path / "params.yaml").write_text("execution: {stages_at_once: 2}")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return tmp_path


def test_a_real_project_runs_side_by_side_and_its_lock_file_is_complete(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "work/usage").mkdir(parents=True)
    (project / "work/usage/both.json").write_text(json.dumps({"seconds": 1.0, "peak_memory_bytes": 1_230_000_000}))
    assert repro.main([]) == 0
    shown = capsys.readouterr().out
    assert "left             | Running stage 'left':" in shown
    assert "\n| both |" in shown
    assert "1.23 |" in shown
    assert "Running stage 'left':" in (project / "work/logs/left.log").read_text()
    assert (project / "all").read_text() == "left\nright\n"
    assert set(yaml.safe_load((project / "dvc.lock").read_text())["stages"]) == {"left", "right", "both"}
    assert repro.main([]) == 0  # asks DVC, which finds nothing to do
    assert capsys.readouterr().out == "Data and pipelines are up to date.\n"


def fake_dvc(folder: Path, body: str) -> None:
    script = folder / "dvc"
    script.write_text(f"#!/bin/bash\n{body}\n")
    script.chmod(0o755)


def test_a_graph_that_dvc_cannot_read_and_an_unknown_stage_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    fake_dvc(tmp_path, "echo 'ERROR: dvc.yaml is invalid.' >&2; exit 3")
    with pytest.raises(GraphUnknown, match=r"exited with 3. It printed:\nERROR: dvc.yaml is invalid"):
        StageGraph.from_dvc("dvc.yaml")
    assert repro.main([]) == 1
    fake_dvc(tmp_path, """echo '"left";'; echo '"right";'""")
    assert repro.main(["middle"]) == 2
    assert "no stage middle. Choose from left, right." in capsys.readouterr().out


def span(begin: float, end: float, changed: bool = True) -> repro.Span:
    return repro.Span(60 * begin, 60 * end, changed)


def test_the_table_has_minutes_and_memory_by_stage_and_of_those_that_ran_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    (tmp_path / "work/usage").mkdir(parents=True)
    for stage, peak in {"data": 9e9, "static": 1e9, "short": 2e9, "joint": 1.5e9}.items():
        (tmp_path / f"work/usage/{stage}.json").write_text(json.dumps({"peak_memory_bytes": int(peak)}))
    spans = {"short": span(0.1, 3), "data": span(0, 0.1, False), "static": span(0.1, 2), "joint": span(2, 4)}
    assert repro.table(repro.Run(spans=spans | {"report": span(4, 4.5)}), 280.0).splitlines()[2:] == [
        "| data | 0.0 | unchanged | 9.00 |",
        "| short | 0.1 | 2.9 | 2.00 |",
        "| static | 0.1 | 1.9 | 1.00 |",
        "| joint | 2.0 | 2.0 | 1.50 |",
        "| report | 4.0 | 0.5 | - |",
        "| all | 0.0 | 4.7 | at most 3.50 |",
    ]


REPRO = """
import sys
from pathlib import Path
from flows import processes, repro
processes.ROOT = Path(sys.argv[1])
sys.exit(repro.main([]))
"""


def test_ctrl_c_ends_every_process_and_gives_its_exit_code(tmp_path: Path) -> None:
    graph = """[ $2 = dag ] && { echo '"a";'; exit; }; [ $2 = status ] && { echo '{"a": []}'; exit; }"""
    fake_dvc(tmp_path, f"{graph}\ntouch started; sleep 3022")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.Popen(
        [sys.executable, "-c", REPRO, str(tmp_path)], cwd=ROOT, env={**os.environ, "PATH": path}, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (tmp_path / "started").exists() and run.poll() is None:
        time.sleep(0.1)
    below = psutil.Process(run.pid).children(recursive=True)
    assert len(below) >= 3
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 130
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
