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
from functools import cache
from pathlib import Path

import psutil
import pytest
import yaml
from PIL import Image
from prefect import Flow
from prefect.artifacts import Artifact
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from flows import dvc_stage, processes
from flows.ablations import ablations
from flows.curate import curate
from flows.dvc_repro import StageFailed, WorkspaceBusy
from flows.evaluate import evaluate
from flows.generate import Generation, GenerationFailed, generate
from flows.pipeline import pipeline
from flows.scheduler import StagesFailed
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
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    monkeypatch.setattr(dvc_stage, "dvc_stage", dvc_stage.dvc_stage.with_options(retry_delay_seconds=0))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@cache
def real_graph(file: str) -> str:
    """Return what DVC prints about the graph of a DVC file of this repository."""
    dvc = str(Path(sys.executable).with_name("dvc"))
    return subprocess.run([dvc, "dag", "--dot", file], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def fake_dvc(folder: Path, body: str) -> None:
    """Write a `dvc` that knows the real graph, and else records the stage it is to bring up to date and runs `body` ($1)."""
    for file in ("dvc.yaml", "ablations/dvc.yaml"):
        (folder / f"graph-{Path(file).parent.name}").write_text(real_graph(file))
    script = folder / "dvc"
    graph = '[ $2 = dag ] && { folder=${4%dvc.yaml}; exec cat "graph-${folder%/}"; }'
    script.write_text(f'#!/bin/bash\n{graph}\nshift 3\necho "$1" >> calls\n{body}\n')
    script.chmod(0o755)


def calls(folder: Path) -> list[str]:
    """Return the stages in the order in which DVC was called for them."""
    return (folder / "calls").read_text().splitlines()


def test_every_flow_runs_its_stages_and_those_that_they_need(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_dvc(workspace, 'echo "Running stage $1"')
    monkeypatch.setattr(dvc_stage, "outcome", lambda stage: dvc_stage.Outcome(None, {}, []))
    pipeline()
    assert sorted(calls(workspace)) == sorted(STAGES)
    first = ["collect", "curate", "render", "featurize"]
    expected: dict[Flow[..., None], list[str] | None] = {
        curate: [],
        train_vae: ["train-vae-static", "train-vae-joint", "encode"],
        train_dit: ["train-vae-static", "train-vae-joint", "encode", "train-dit"],
        train_image_to_3d: ["train-vae-static", "train-structure", "train-appearance"],
        evaluate: None,
    }
    for flow, stages in expected.items():
        (workspace / "calls").unlink()
        flow()
        assert calls(workspace)[:4] == first
        assert set(calls(workspace)[4:]) == set(STAGES if stages is None else stages) - set(first)


def test_a_failed_stage_fails_the_flow_with_its_exit_code(workspace: Path) -> None:
    fake_dvc(
        workspace, '[ $1 = render ] && { echo "Error: params.yaml: render.radius: is missing."; exit 255; } || true'
    )
    with pytest.raises(StagesFailed, match=r"(?s)repro --single-item render` exited with 255.*render.radius") as caught:
        evaluate()
    assert isinstance(caught.value.failures["render"], StageFailed)
    assert calls(workspace) == ["collect", "curate", "render"]


def test_only_a_busy_workspace_is_retried(workspace: Path) -> None:
    busy = 'echo "ERROR: /data/raw is busy, it is being blocked by: ..."; exit 1;'
    fake_dvc(workspace, f"[ $(wc -l < calls) -gt 2 ] || {{ {busy} }}")
    curate()
    assert calls(workspace) == ["collect"] * 3 + ["curate", "render", "featurize"]
    fake_dvc(workspace, busy)
    (workspace / "calls").unlink()
    with pytest.raises(StagesFailed) as caught:
        curate()
    assert isinstance(caught.value.failures["collect"], WorkspaceBusy)
    assert len(calls(workspace)) == 1 + len(dvc_stage.RETRY_SECONDS)


def test_the_artifact_shows_metrics_images_and_the_mlflow_run(workspace: Path) -> None:
    fake_dvc(workspace, "echo \"Stage '$1' didn't change, skipping\"")
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
    fake_dvc(workspace, 'echo "Running stage $1"')
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
    variants = [stage for stage in calls(workspace) if stage.startswith("ablations/")]
    assert sorted(variants) == sorted(listed)
    assert variants[-1] == "ablations/dvc.yaml:report"
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
from flows import processes, train_dit
processes.ROOT = Path(sys.argv[1])
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
    assert list(processes.log_lines(stream)) == ["red", "  1%|#", "done \ufffd", "end"]


def test_deployments_name_every_flow_and_import(monkeypatch: pytest.MonkeyPatch) -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    monkeypatch.chdir(ROOT)
    flows = {load_flow_from_entrypoint(entry["entrypoint"]).name for entry in deployments}
    assert flows == {
        *("curate", "train-vae", "train-dit", "train-image-to-3d", "evaluate", "pipeline", "ablations", "generate"),
    }
    assert {entry["name"] for entry in deployments} == {"local"}
    assert {entry["work_pool"]["name"] for entry in deployments} == {"local-pool"}
