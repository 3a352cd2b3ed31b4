"""Tracking against a real SQLite store, read back with plain SQL; and what happens when the store is not there."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException

from gvf.config.tracking import TrackingConfig
from gvf.storage.files import main_checkout
from gvf.tracking import client as tracking
from gvf.tracking import writer as mlflow_writer
from gvf.workspace import Workspace

ON = TrackingConfig(enabled=True, system_metrics_interval=1.0)
PARAMS = {"run": {"preset": "cpu", "seed": 0}, "collect": {"sources": ["procedural"]}, "train_dit": {"steps": 40}}
KILLED_STAGE = """
import time
from gvf.tracking import client as tracking
from gvf.config.tracking import TrackingConfig
from gvf.workspace import Workspace
with tracking.stage_run("train-dit", {"run": {"preset": "killed"}}, TrackingConfig(True, 10.0), Workspace()):
    tracking.log(1, {"loss": 1.0})
    print("open", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "data/curated").mkdir(parents=True)
    (tmp_path / "data/curated/clips.parquet").write_bytes(b"clips")
    return tmp_path


def rows(store: Path, query: str) -> list[tuple]:
    connection = sqlite3.connect(store)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 240
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert path.exists(), f"{path} was not written"


def test_two_first_runs_at_once_one_finished_one_killed(workspace: Path) -> None:
    """The finished run holds everything logged; the killed one is marked so by its orphaned writer."""
    other = subprocess.Popen([sys.executable, "-c", KILLED_STAGE], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"

    weights = workspace / "models/dit"
    weights.mkdir(parents=True)
    (weights / "model.safetensors").write_bytes(b"weights")
    (weights / "config.json").write_text("{}")
    with tracking.stage_run("sample", PARAMS, ON, Workspace()):
        for step in range(40):
            tracking.log(step, {"loss": 1 / (1 + step), "grad_norm": np.float32(step)})
        tracking.log_figure("knight / walk", np.zeros((4, 6, 3), np.uint8), step=7)
        tracking.log_video(weights / "config.json")
        tracking.log_folder(weights, "assets/knight")
        tracking.log_model(weights, "dit")
        tracking.log_metrics({"psnr": 21.5})

    record = json.loads((workspace / "work/runs/sample.json").read_text())
    store = workspace / "mlflow.db"
    run_id = record["run_id"]
    assert record["url"].startswith("http://127.0.0.1:5000/#/experiments/")
    assert run_id in record["url"]
    names = dict(rows(store, "select name, experiment_id from experiments"))
    assert {"sample", "train-dit"} <= set(names)
    assert str(names["sample"]) == record["experiment_id"]
    assert rows(store, f"select status, name from runs where run_uuid = '{run_id}'") == [
        ("FINISHED", record["run_name"])
    ]
    assert record["run_name"].startswith("cpu-procedural-")
    params = dict(rows(store, f"select key, value from params where run_uuid = '{run_id}'"))
    assert params == {
        "run.preset": "cpu",
        "run.seed": "0",
        "collect.sources": "['procedural']",
        "train_dit.steps": "40",
    }
    losses = rows(store, f"select step, value from metrics where run_uuid = '{run_id}' and key = 'loss' order by step")
    assert losses == [(step, 1 / (1 + step)) for step in range(40)]
    (psnr,) = rows(store, f"select value, step from metrics where run_uuid = '{run_id}' and key = 'psnr'")
    assert psnr == (21.5, 39)
    assert rows(store, f"select count(*) from metrics where run_uuid = '{run_id}' and key like 'system/cpu%'")[0][0] > 0
    tags = dict(rows(store, f"select key, value from tags where run_uuid = '{run_id}'"))
    assert tags["preset"] == "cpu"
    assert {"code", "dvc_lock", "run_key", "mlflow.source.git.commit"} <= set(tags)
    datasets = {name for (name,) in rows(store, "select name from datasets")}
    assert datasets == {"curated"}  # once or twice: the other run may still log its own
    assert rows(store, "select name, source_run_id from logged_models") == [("dit", run_id)]
    ((name, location),) = rows(store, "select name, source from model_versions")
    assert name == "dit"
    assert not Path(location).is_absolute()
    assert (Path(location) / "model.safetensors").read_bytes() == b"weights"
    assert (Path(location) / "MLmodel").is_file()
    artifacts = workspace / "mlruns" / record["experiment_id"] / run_id / "artifacts"
    assert any(path.name.startswith("knight-walk") for path in (artifacts / "images").iterdir())
    assert (artifacts / "videos/config.json").is_file()
    assert sorted(path.name for path in (artifacts / "assets/knight").iterdir()) == ["config.json", "model.safetensors"]
    assert (workspace / "work/runs/sample/knight-walk-0000007.png").is_file()

    killed = workspace / "work/runs/train-dit.started.json"
    wait_for(killed)
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    query = f"select status from runs where run_uuid = '{json.loads(killed.read_text())['run_id']}'"
    deadline = time.monotonic() + 240
    while rows(store, query) == [("RUNNING",)] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert rows(store, query) == [("KILLED",)]
    assert not (workspace / "work/runs/train-dit.json").exists()


def test_runs_of_a_variant_have_a_parent_with_their_mean(workspace: Path) -> None:
    """Seed 1 is run twice: its newest run counts. No variant becomes the next version of a registered model."""
    weights = workspace / "models/dit"
    weights.mkdir(parents=True)
    (weights / "model.safetensors").write_bytes(b"weights")
    for seed, psnr in ((0, 20.0), (1, 1000.0), (1, 23.0)):
        variant = tracking.Variant("vae-A", "0123abcd", seed, "vae_psnr", {"config": "A", "table": "2"})
        with tracking.stage_run("ablations", PARAMS, ON, Workspace(), variant):
            tracking.log(1, {"loss": 0.5})
            tracking.log_model(weights, "dit")
            tracking.log_metrics({"loss": 0.5})
            tracking.log_metrics({"vae_psnr": psnr})
    store = workspace / "mlflow.db"
    names = dict(rows(store, "select run_uuid, name from runs"))
    assert sorted(names.values()) == ["vae-A", "vae-A-0", "vae-A-1", "vae-A-1"]
    (parent,) = [run for run, name in names.items() if name == "vae-A"]
    parents = rows(store, "select value from tags where key = 'mlflow.parentRunId'")
    assert parents == [(parent,)] * 3
    tags = dict(rows(store, f"select key, value from tags where run_uuid = '{parent}'"))
    assert (tags["config"], tags["table"]) == ("A", "2")
    assert "seed" not in tags
    seeds = rows(store, "select value from tags where key = 'seed' order by value")
    assert seeds == [("0",), ("1",), ("1",)]
    means = dict(rows(store, f"select key, value from latest_metrics where run_uuid = '{parent}' order by rowid"))
    assert means == pytest.approx(
        {"vae_psnr": 21.5, "vae_psnr_std": 4.5**0.5, "loss": 0.5, "loss_std": 0, "seeds": 2.0}
    )
    assert next(iter(means)) == "vae_psnr"
    keys = {key for (key,) in rows(store, f"select key from params where run_uuid = '{parent}'")}
    assert keys == {"run.preset", "collect.sources", "train_dit.steps"}
    assert rows(store, "select count(*) from model_versions") == [(0,)]


def test_an_error_goes_up_and_the_server_being_down_does_not(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with tracking.stage_run("encode", PARAMS, ON, Workspace()):
            tracking.log(0, {"loss": 1.0})
        assert capfd.readouterr().err.count("cannot be reached") == 1
        with pytest.raises(ZeroDivisionError), tracking.stage_run("encode", PARAMS, ON, Workspace()):
            tracking.log(0, {"loss": 1 / 0})
    assert not (workspace / "work/runs/encode.json").exists()


def test_a_writer_that_dies_costs_one_warning(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracking.sys, "executable", "/bin/true")
    with tracking.stage_run("encode", PARAMS, ON, Workspace()):
        for _ in range(3):
            time.sleep(0.2)
            tracking.log_model("models", "dit")
    assert len(caplog.records) == 1
    assert "not tracked further" in caplog.text


def addresses(store: Path) -> list[str]:
    """Every address of artifacts in the store of `run_with_an_image`."""
    return [
        address
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri"))
        for (address,) in rows(store, f"select {column} from {table}")
    ]


def test_any_name_of_the_checkout_and_a_move_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The store of an earlier version, with absolute addresses, is taken along too."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    first, second = tmp_path / "a?b=c #d 100%20 é" / "gvf", tmp_path / "moved"
    first.mkdir(parents=True)
    monkeypatch.chdir(first)
    with tracking.stage_run("encode", PARAMS, ON, Workspace()):
        tracking.log_figure("knight", np.zeros((4, 6, 3), np.uint8))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a?b=c #d 100%20 é"]
    assert sorted(path.name for path in first.iterdir()) == ["mlflow.db", "mlflow.db.lock", "mlruns", "work"]
    assert [address.partition("/")[0] for address in addresses(first / "mlflow.db")] == ["mlruns"] * 3

    with sqlite3.connect(first / "mlflow.db") as connection:  # as MLflow writes them
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            connection.execute(f"update {table} set {column} = ? || {column}", (f"{first}/",))
    first.rename(second)
    monkeypatch.chdir(second)
    capfd.readouterr()
    with tracking.stage_run("encode", PARAMS, ON, Workspace()):
        tracking.log_figure("knight", np.zeros((4, 6, 3), np.uint8))
    assert f"led to {first}/ and now lead to this folder" in capfd.readouterr().err
    found = addresses(second / "mlflow.db")
    assert [address.partition("/")[0] for address in found] == ["mlruns"] * 4
    for run in found[-2:]:
        assert list((second / run / "images").glob("knight*.png"))
    assert not first.exists()


@pytest.mark.parametrize("copy", [".dvc/tmp/exps/standalone/tmp1", ".dvc/tmp/exps/tmp2", "."])
def test_a_temporary_copy_belongs_to_its_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy: str) -> None:
    (tmp_path / copy / "sub").mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for folder in (".", "sub"):
        monkeypatch.chdir(tmp_path / copy / folder)
        assert main_checkout(Path()) == tmp_path / folder
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "another project"))
    assert main_checkout(Path()) == tmp_path / copy / "sub"
    monkeypatch.delenv("DVC_ROOT")
    assert main_checkout(Path()) == tmp_path / copy / "sub"


class SickServer:
    """A tracking server that hangs, or answers every request with one status."""

    def __init__(self, status: int | None) -> None:
        self.status = status
        self.requests = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                outer.requests += 1
                if outer.status is None:
                    time.sleep(60)
                    return
                body = b"<html>something else</html>"
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def sick_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SickServer]:
    server = SickServer(200)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "8")
    monkeypatch.setattr(mlflow_writer, "_HEALTH_SECONDS", 0.5)
    yield server
    server.server.shutdown()


@pytest.mark.parametrize("status", [None, 500, 503, 404, 403, 200])
def test_a_sick_server_costs_one_warning_at_the_start(
    workspace: Path, sick_server: SickServer, capfd: pytest.CaptureFixture[str], status: int | None
) -> None:
    sick_server.status = status
    with tracking.stage_run("encode", PARAMS, ON, Workspace()):
        for step in range(3):
            tracking.log(step, {"loss": 1.0})
            tracking.log_figure("knight", np.zeros((4, 6, 3), np.uint8), step)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Warning: MLflow: no run is logged: ")
    if status is None or status >= 500:
        assert sick_server.requests == 1  # MLflow itself, which takes seconds to import, was not even tried


@pytest.mark.parametrize("status", [None, 500])
def test_a_server_that_goes_away_costs_one_warning_and_is_left_alone(
    sick_server: SickServer, capfd: pytest.CaptureFixture[str], status: int | None
) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise MlflowException("API request failed with timeout")

    run = bare_run()
    sick_server.status = status
    for kind in ("metrics", "picture", "end"):
        run._guarded(kind, call)
    assert len(calls) == 1
    err = capfd.readouterr().err
    assert err.count("Warning") == 1
    assert "the rest of this run is not tracked" in err


def test_a_slow_server_gets_more_time_and_a_refusal_costs_itself(
    sick_server: SickServer, capfd: pytest.CaptureFixture[str]
) -> None:
    timeouts, refused = [], []

    def slow() -> None:
        timeouts.append(int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]))
        if timeouts[-1] < 60:
            raise MlflowException("API request failed with timeout")

    def refuse() -> None:
        refused.append(1)
        raise MlflowException("not a number", error_code=INVALID_PARAMETER_VALUE)

    run = bare_run()
    run._guarded("metrics", slow)
    assert timeouts == [8, 60]
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "8"
    assert capfd.readouterr().err == ""
    for _ in range(2):
        run._guarded("metrics", refuse)
    assert len(refused) == 2
    assert capfd.readouterr().err.count("Warning: MLflow: metrics not logged: not a number") == 1


def bare_run() -> mlflow_writer._Run:
    """A run in mid-flight, without a store."""
    run = object.__new__(mlflow_writer._Run)
    run._warned = run._gone = False
    return run


@pytest.mark.parametrize(
    ("script", "warnings"),
    [
        ("import time; time.sleep(600)", 1),
        ("import time; end = time.monotonic() + 4\nwhile time.monotonic() < end: pass", 0),
    ],
    ids=["idle", "busy"],
)
def test_only_a_writer_that_does_something_is_waited_for(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, script: str, warnings: int
) -> None:
    writer = workspace / "writer"
    writer.write_text(f"#!{sys.executable}\n{script}\n")
    writer.chmod(0o755)
    monkeypatch.setattr(tracking.sys, "executable", str(writer))
    monkeypatch.setattr(tracking, "_IDLE_SECONDS", 2.0)
    with tracking.stage_run("encode", PARAMS, ON, Workspace()):
        pass
    assert len(caplog.records) == warnings


@pytest.mark.parametrize("settings", [TrackingConfig(enabled=False, system_metrics_interval=1.0), ON])
def test_off_and_on_other_ranks_nothing_happens(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, settings: TrackingConfig
) -> None:
    monkeypatch.setenv("RANK", "1" if settings.enabled else "0")
    with tracking.stage_run("encode", PARAMS, settings, Workspace()):
        tracking.log(0, {"loss": 1.0})
        tracking.log_figure("image", np.zeros((2, 2, 3), np.uint8))
    tracking.log_metrics({"psnr": 1.0})
    assert not (workspace / "work").exists()
    assert not (workspace / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("end", "status"), [(SystemExit(143), "KILLED"), (KeyboardInterrupt(), "KILLED"), (ValueError(), "FAILED")]
)
def test_a_run_that_a_signal_ends_is_marked_killed(
    end: BaseException, status: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    monkeypatch.setattr(tracking._Session, "send", lambda self, **message: sent.append(message))
    with pytest.raises(type(end)), tracking.stage_run("sample", PARAMS, ON, Workspace()):
        raise end
    assert sent[-1]["status"] == status
