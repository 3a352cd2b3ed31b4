"""A schedule yields flow runs: a Prefect server of its own, with the commands that docs/operations.md shows."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PREFECT = Path(sys.executable).with_name("prefect")
DEADLINE_SECONDS = 240  # a busy machine takes its time; a quiet one needs ten seconds


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a server whose scheduler looks every second, and the environment of its clients."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(tmp_path / "home"),
        "PREFECT_API_URL": address,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "1",
    }
    log = tmp_path / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(PREFECT), "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: httpx.get(f"{address}/health").is_success, log)
        yield address, environment
    finally:
        process.terminate()
        process.wait(60)


def wait_for(condition, log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(0.2)
    raise AssertionError(log.read_text()[-3000:])


def scheduled_runs(address: str) -> list[dict]:
    query = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    return httpx.post(f"{address}/flow_runs/filter", json=query).json()


@pytest.mark.timeout(900)
def test_the_shown_schedule_yields_runs(server: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    """The server's scheduler needs SQLAlchemy 2.0: with 2.1 it fails at every look, and no run ever appears."""
    address, environment = server
    flow = httpx.post(f"{address}/flows/", json={"name": "pipeline"}, timeout=60).raise_for_status().json()
    deployment = {"name": "local", "flow_id": flow["id"]}
    log = tmp_path / "server.log"  # a server that has just started may be busy with its database: 503
    wait_for(lambda: httpx.post(f"{address}/deployments/", json=deployment).is_success, log)
    (command,) = re.findall(
        r"^prefect (deployment schedule create .*)$", (ROOT / "docs/operations.md").read_text(), re.M
    )
    arguments = re.findall(r'"([^"]*)"|(\S+)', command)
    subprocess.run(
        [str(PREFECT), *(quoted or plain for quoted, plain in arguments)],
        cwd=tmp_path,
        env=environment,
        check=True,
        timeout=DEADLINE_SECONDS,
    )
    wait_for(lambda: scheduled_runs(address), log)
    run = scheduled_runs(address)[0]
    assert run["auto_scheduled"]
    assert run["expected_start_time"][11:] in (
        "01:00:00Z",
        "02:00:00Z",
    )  # three o'clock in Berlin, in summer and winter


def test_the_schedule_in_prefect_yaml_is_the_shown_one_and_off() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    schedules = [schedule for entry in deployments for schedule in entry.get("schedules", [])]
    assert [schedule["active"] for schedule in schedules] == [False]
    (schedule,) = schedules
    text = (ROOT / "docs/operations.md").read_text()
    assert f'schedule create pipeline/local --cron "{schedule["cron"]}" --timezone {schedule["timezone"]}' in text
