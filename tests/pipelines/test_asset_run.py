"""The MLflow run of a generated asset."""

from __future__ import annotations

import base64
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from gvf.pipelines.asset_run import log_asset
from gvf.workspace import Workspace
from tests.pipelines.cube_asset import sliding_cube, write_asset


def test_an_asset_is_logged_with_its_files_timings_and_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = write_asset(tmp_path / "assets/cube", sliding_cube(tmp_path / "cube.glb"))
    (folder / "index.html").write_text("<html></html>")
    found = log_asset(folder, Workspace())
    assert found["metrics"] == {"seconds_align": 1.5, "seconds_read_video": 0.25, "seconds": 1.75}
    with Image.open(io.BytesIO(base64.b64decode(found["strip"]))) as strip:
        assert strip.size == (3 * 192, 192)
        assert len(set(strip.convert("L").getdata())) > 2, "nothing is drawn"
    run = found["run"]
    assert run["run_name"].startswith("none-cube-")
    artifacts = tmp_path / "mlruns" / run["experiment_id"] / run["run_id"] / "artifacts/assets/cube"
    assert sorted(path.name for path in artifacts.iterdir()) == [
        "asset.glb",
        "canonical.ply",
        "index.html",
        "manifest.json",
    ]
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        query = "select key, value from params where run_uuid = ?"
        params = dict(store.execute(query, (run["run_id"],)).fetchall())
    assert params["generate.canonical.file"] == "cube.glb"
    assert params["generate.num_frames"] == "3"
    assert json.loads((artifacts / "manifest.json").read_text())["num_frames"] == 3
