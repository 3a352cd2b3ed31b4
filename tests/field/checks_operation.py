"""A tracking server that is down or ill."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def dead_server(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`gvf collect` warns once and finishes, whether the server answers 500 or not at all."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["collect"]["procedural"] = {"families": ["ball"], "clips_per_family": 1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    for mode in ("500", "hang"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen([sys.executable, str(script), mode, str(port)])
        try:
            deadline = time.monotonic() + 60
            while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < deadline:
                time.sleep(0.1)
            done = subprocess.run(
                [sys.executable, "-m", "gvf.cli", "collect"],
                cwd=tmp_path,
                env={**os.environ, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"},
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
        finally:
            server.kill()
            server.wait()
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("MLflow") == 1, done.stderr
        assert f"no run is logged: the tracking server 127.0.0.1:{port}" in done.stderr
        assert (tmp_path / "data/raw/clips.parquet").is_file()


CHECKS: dict[str, Callable[..., None]] = {"dead_server.py": dead_server}
