"""Flows over a fake `dvc` on the path: order, retries, exit codes, artifacts, and the end of a flow run."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from PIL import Image
from prefect.artifacts import Artifact
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from flows import dvc_stage
from flows.ablations import ablations
from flows.curate import curate
from flows.evaluate import evaluate
from flows.generate import Generation, GenerationFailed, generate
from flows.pipeline import pipeline
from flows.train_dit import train_dit
from flows.train_image_to_3d import train_image_to_3d
from flows.train_vae import train_vae
from tests.pipelines.cube_asset import sliding_cube, write_asset

ROOT = Path(__file__).resolve().parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.fixture(scope="module", autouse=True)
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=240):
        yield


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that replaces the repository, with retries that do not wait."""
    monkeypatch.setattr(dvc_stage, "ROOT", tmp_path)
    monkeypatch.setattr(dvc_stage, "dvc_stage", dvc_stage.dvc_stage.with_options(retry_delay_seconds=0))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def fake_dvc(folder: Path, body: str) -> None:
    """Write a `dvc` that records its arguments and then runs `body` ($2 is the stage)."""
    script = folder / "dvc"
    script.write_text(f'#!/bin/bash\necho "$@" >> calls\n{body}\n')
    script.chmod(0o755)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_every_flow_runs_its_stages_in_the_graph_s_order(workspace: Path) -> None:
    fake_dvc(workspace, 'echo "Running stage $2"')
    pipeline()
    assert calls(workspace) == [f"repro {stage}" for stage in STAGES]
    (workspace / "calls").unlink()
    for flow in (curate, train_vae, train_dit, train_image_to_3d, evaluate):
        flow()
    assert calls(workspace) == [f"repro {stage}" for stage in STAGES]


def test_a_failed_stage_fails_the_flow_at_once_with_its_exit_code(workspace: Path) -> None:
    fake_dvc(workspace, 'echo "Error: params.yaml: train_dit.steps: is missing."; exit 255')
    with pytest.raises(dvc_stage.StageFailed, match=r"(?s)dvc repro sample` exited with 255.*train_dit.steps"):
        evaluate()
    assert calls(workspace) == ["repro sample"]


def test_only_a_busy_workspace_is_retried(workspace: Path) -> None:
    fake_dvc(
        workspace, '[ $(wc -l < calls) -gt 2 ] || { echo "ERROR: Unable to acquire lock. Most likely ..."; exit 1; }'
    )
    train_dit()
    assert calls(workspace) == ["repro train-dit"] * 3
    fake_dvc(workspace, 'echo "ERROR: Unable to acquire lock."; exit 1')
    (workspace / "calls").unlink()
    with pytest.raises(dvc_stage.WorkspaceBusy):
        train_dit()
    assert len(calls(workspace)) == 1 + len(dvc_stage.RETRY_SECONDS)


def test_the_artifact_shows_metrics_images_and_the_mlflow_run(workspace: Path) -> None:
    fake_dvc(workspace, "echo \"Stage '$2' didn't change, skipping\"")
    (workspace / "reports/metrics").mkdir(parents=True)
    (workspace / "reports/metrics/train-dit.json").write_text(json.dumps({"loss": 0.1234567, "steps": 9}))
    (workspace / "work/runs/train-dit").mkdir(parents=True)
    Image.new("RGB", (3, 2)).save(workspace / "work/runs/train-dit/knight.png")
    record = {"run_name": "cpu-procedural-0a1b2c3d", "url": "http://127.0.0.1:5000/#/experiments/1/runs/abc"}
    (workspace / "work/runs/train-dit.json").write_text(json.dumps(record))
    train_dit()
    artifact = Artifact.get("train-dit")
    assert artifact is not None
    assert isinstance(artifact.data, str)
    assert "[cpu-procedural-0a1b2c3d](http://127.0.0.1:5000/#/experiments/1/runs/abc)" in artifact.data
    assert "| loss | 0.123457 |\n| steps | 9 |" in artifact.data
    assert "![knight](data:image/png;base64,iVBOR" in artifact.data
    assert "Up to date" in artifact.data


def test_the_link_is_to_the_run_that_made_the_outputs(workspace: Path) -> None:
    """If a newer run made other outputs than the present ones, neither it nor its images are shown."""
    runs = workspace / "work/runs"
    (runs / "train-dit").mkdir(parents=True)
    (runs / "train-dit/knight.png").touch()
    (runs / "train-dit.json").write_text(json.dumps({"run_name": "newer", "url": "http://mlflow/newer"}))
    (runs / "train-dit.started.json").write_text(json.dumps({"run_name": "failed", "url": "http://mlflow/failed"}))
    shown = dvc_stage.outcome("train-dit")
    assert shown.run is not None
    assert shown.run["run_name"] == "newer"
    assert shown.images == [runs / "train-dit/knight.png"]
    lock = {"stages": {"train-dit": {"outs": [{"path": "models/generator", "md5": "0.dir", "size": 1, "nfiles": 1}]}}}
    (workspace / "dvc.lock").write_text(yaml.safe_dump(lock))
    shown = dvc_stage.outcome("train-dit")
    assert shown.run is None
    assert shown.images == []


def test_the_ablations_run_every_variant_and_seed_as_dvc_calls_them(workspace: Path) -> None:
    fake_dvc(workspace, 'echo "Running stage $2"')
    results = workspace / "ablations/results"
    results.mkdir(parents=True)
    (results / "vae-A-0.json").write_text(json.dumps({"figures": {"vae_psnr": 21.5}}))
    records = workspace / "work/runs/ablations"
    records.mkdir(parents=True)
    (records / "vae-A-0.json").write_text(json.dumps({"run_name": "vae-A-0", "url": "http://mlflow/run", "minutes": 1}))
    Image.new("RGB", (3, 2)).save(results / "vae-A-0.png")
    ablations()
    listed = subprocess.run(
        [str(Path(sys.executable).with_name("dvc")), "stage", "list", "--name-only", "ablations/dvc.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(listed) == 14 * 3 + 1
    assert calls(workspace) == [f"repro {stage}" for stage in listed]
    artifact = Artifact.get("ablations-vae-a-0")
    assert artifact is not None
    assert "| vae_psnr | 21.5 |" in str(artifact.data)
    assert "[vae-A-0](http://mlflow/run)" in str(artifact.data)
    assert "![vae-A-0](data:image/png;base64,iVBOR" in str(artifact.data)


def test_an_asset_is_made_and_shown_with_page_frames_and_timings(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["tracking"]["enabled"] = False
    (workspace / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    write_asset(workspace / "made", sliding_cube(workspace / "cube.glb"))
    script = workspace / "gvf"
    script.write_text('#!/bin/bash\necho "$@" >> calls\nmkdir -p work/assets; cp -r made work/assets/slide\n')
    script.chmod(0o755)
    generate(Generation(video="slide.mp4", object_file="cube.glb"))
    (call,) = calls(workspace)
    assert call.startswith(f"animate --output={workspace}/work/assets/slide ")
    page, shown = Artifact.get("asset-slide-page"), Artifact.get("asset-slide")
    assert page is not None
    assert f"file://{workspace}/work/assets/slide/index.html" in str(page.data)
    assert shown is not None
    assert "![frames](data:image/png;base64,iVBOR" in str(shown.data)
    assert "| seconds, align | 1.5 |" in str(shown.data)
    script.write_text('#!/bin/bash\necho "Error: slide.mp4: there is no such file or folder."; exit 2\n')
    with pytest.raises(GenerationFailed, match=r"(?s)exited with 2.*slide.mp4: there is no such file"):
        generate(Generation(video="slide.mp4"))


FLOW_RUN = """
import sys
from pathlib import Path
from flows import dvc_stage, train_dit
dvc_stage.ROOT = Path(sys.argv[1])
train_dit.train_dit()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ending_a_flow_run_leaves_no_process(workspace: Path, number: signal.Signals) -> None:
    fake_dvc(workspace, "setsid sleep 3011 & touch started; sleep 3012")
    flow = subprocess.Popen(
        [sys.executable, "-c", FLOW_RUN, str(workspace)],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())},
    )
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not (workspace / "started").exists() and flow.poll() is None:
        time.sleep(0.1)
    below = psutil.Process(flow.pid).children(recursive=True)
    assert len(below) >= 3  # guard, dvc and what it started
    flow.send_signal(number)
    flow.wait(60)
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_progress_bars_are_thinned_and_colours_removed() -> None:
    stream = io.BytesIO(b"\x1b[31mred\x1b[0m\n\n  1%|#\r  2%|##\r  3%|###\rdone \xff\r\nend")
    assert list(dvc_stage.log_lines(stream)) == ["red", "  1%|#", "done \ufffd", "end"]


def test_deployments_name_every_flow_and_import(monkeypatch: pytest.MonkeyPatch) -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    monkeypatch.chdir(ROOT)
    flows = {load_flow_from_entrypoint(entry["entrypoint"]).name for entry in deployments}
    assert flows == {
        *("curate", "train-vae", "train-dit", "train-image-to-3d", "evaluate", "pipeline", "ablations", "generate"),
    }
    assert {entry["name"] for entry in deployments} == {"local"}
    assert {entry["work_pool"]["name"] for entry in deployments} == {"local-pool"}
