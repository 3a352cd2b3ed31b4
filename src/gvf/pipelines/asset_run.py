"""The MLflow run of a generated asset; `python -m gvf.pipelines.asset_run DIR` logs it and prints what to show of it as JSON.

The run belongs to the experiment `generate`. It gets the manifest as parameters, the seconds of every step and the
confidence of the camera as metrics, a strip of frames, and all files of the asset.
"""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gvf.config.load import load_params
from gvf.config.tracking import TrackingConfig
from gvf.data.mesh import encode_png
from gvf.pipelines.asset import Asset4D
from gvf.pipelines.asset_manifest import Manifest
from gvf.storage.files import PathLike
from gvf.tracking import client as tracking
from gvf.tracking import run_records
from gvf.workspace import Workspace

EXPERIMENT = "generate"
_STRIP_FRAMES, _STRIP_SIZE = 6, 192
_WITHOUT_PARAMS = TrackingConfig(enabled=True, system_metrics_interval=10.0)


def log_asset(folder: PathLike, workspace: Workspace) -> dict[str, Any]:
    """Log the asset in a folder as a run, unless params.yaml says that runs are not tracked.

    Returns `run` (its record, or null), `metrics`, and `strip`, a PNG of frames seen by the input's camera, in base64.
    Raises UserError when the asset cannot be read.
    """
    asset, folder = Asset4D.load(folder), Path(folder).resolve()
    values, image = metrics(asset.manifest), strip(asset)
    run = None
    settings = _settings(workspace)
    if settings.enabled:
        run_records.newest_path(workspace, EXPERIMENT).unlink(missing_ok=True)
        with tracking.stage_run(EXPERIMENT, parameters(folder.name, asset.manifest), settings, workspace):
            tracking.log_metrics(values)
            tracking.log_figure("preview", image)
            tracking.log_folder(folder, f"assets/{folder.name}")
        run = run_records.find(workspace, EXPERIMENT)
    return {"run": run, "metrics": values, "strip": base64.b64encode(encode_png(image)).decode()}


def parameters(name: str, manifest: Manifest) -> dict[str, Any]:
    """Return the parameters of the run by section: generator and video name the run, as preset and data do elsewhere."""
    known = manifest.model_dump(
        mode="json", include={"generator", "canonical", "settings", "motion", "camera", "device", "versions"}
    )
    sizes = {"num_frames": manifest.num_frames, "num_gaussians": manifest.num_gaussians}
    return {
        "run": {"preset": manifest.generator.name},
        "collect": {"sources": [manifest.video.name]},
        EXPERIMENT: {"asset": name, **sizes, **known},
    }


def metrics(manifest: Manifest) -> dict[str, float]:
    """Return what was measured while the asset was made."""
    values = {f"seconds_{step.replace(' ', '_')}": seconds for step, seconds in manifest.seconds.items()}
    values["seconds"] = sum(manifest.seconds.values())
    if manifest.alignment is not None:
        values["camera_confidence"] = manifest.alignment.confidence
    return values


def strip(asset: Asset4D) -> np.ndarray:
    """Return some frames side by side, as the input's camera sees them: uint8 [H, W, 3]."""
    shown = np.unique(np.linspace(0, len(asset.gaussians.means) - 1, _STRIP_FRAMES).round().astype(int))
    some = replace(asset, gaussians=asset.gaussians.map(lambda values: values[shown.tolist()]))
    return np.concatenate(list(some.render(size=_STRIP_SIZE)), axis=1)


def _settings(workspace: Workspace) -> TrackingConfig:
    path = workspace.root / "params.yaml"
    return load_params(path).tracking if path.is_file() else _WITHOUT_PARAMS


if __name__ == "__main__":
    print(json.dumps(log_asset(sys.argv[1], Workspace())))
