"""Stage `report`: tables (csv, md, tex), one self-contained page, and pages that play the clips it shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from gvf.config.params import Params
from gvf.config.report import ReportConfig
from gvf.data.clips import load_views, on_white
from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.pipelines.clip_player import VIDEO, ClipPlayer
from gvf.storage.files import atomic_path, fresh_directory, load_npz, load_tensors, read_json
from gvf.tracking import client as tracking
from gvf.workspace import Workspace
from gvf_evaluation.reporting import shape_section
from gvf_evaluation.reporting.images import stack
from gvf_evaluation.reporting.inputs import read_inputs
from gvf_evaluation.reporting.page import ShownShape
from gvf_evaluation.reporting.report_page import build_page, render
from gvf_evaluation.reporting.report_tables import write_tables
from gvf_evaluation.reporting.shown_clips import ROWS, ShownClip, choose, show


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Write `reports/tables`, `reports/index.html` and `reports/clips`, and return how many clips the page shows.

    The same inputs give the same bytes; only the page also says how long stages took and links to MLflow's runs. Raises
    UserError as `read_inputs` does.
    """
    inputs = read_inputs(workspace)
    write_tables(inputs, workspace.tables)
    chosen = choose(inputs.clips)
    shown = {
        group: [_show(workspace, group, clip, inputs.clips, params.report) for clip in clips]
        for group, clips in chosen.items()
    }
    with fresh_directory(workspace.clip_pages) as folder:
        for clip in (clip for clips in shown.values() for clip in clips):
            _player(workspace, clip).write_page(folder / Path(clip.page).name)
    shapes = (
        [] if inputs.shapes is None else _show_shapes(workspace, inputs.shapes[0], inputs.measurement, params.report)
    )
    with atomic_path(workspace.page) as partial:
        partial.write_text(render(build_page(inputs, shown, shapes)), encoding="utf-8")
    for clip in (clip for clips in shown.values() for clip in clips):
        tracking.log_figure(f"{clip.group}-{clip.clip_id}", stack(clip.strips))
    return {"clips_shown": sum(map(len, shown.values()))}


def _show(workspace: Workspace, group: str, clip_id: str, clips: pd.DataFrame, config: ReportConfig) -> ShownClip:
    """Read one clip's ground truth and predictions and return its images."""
    video, ground_truth = (_to_uint8(on_white(load_views(workspace, clip_id, kind).rgba)) for kind in ("video", "eval"))
    predictions = load_npz(workspace.predictions / f"{clip_id}.npz")
    methods = {name: predictions[f"{name}_rgb"] for name in ROWS if f"{name}_rgb" in predictions}
    address = f"{workspace.clip_pages.name}/{clip_id}.html"
    return show(
        group, clip_id, address, clips, video[VIDEO], ground_truth, methods, config.strip_frames, config.tile_size
    )


def _show_shapes(
    workspace: Workspace, shapes: pd.DataFrame, measurement: Mapping[str, Any], config: ReportConfig
) -> list[ShownShape]:
    """Read the worst generated objects and return their images."""
    nearest, shown = read_json(workspace.nearest_images), []
    for clip in shape_section.worst(shapes):
        video, ground_truth = (
            _to_uint8(on_white(load_views(workspace, clip, kind).rgba)) for kind in ("video", "eval")
        )
        arrays = load_npz(workspace.shapes / f"{clip}.npz")
        methods = {name: arrays[f"{name}_rgb"] for name in shape_section.SHOWN if f"{name}_rgb" in arrays}
        failures = measurement["shape_failures"]
        shown.append(
            shape_section.show(
                clip,
                shapes,
                nearest.get(clip, {}).get("clip", "none"),
                failures,
                video[VIDEO, 0],
                ground_truth[0],
                methods,
                config.tile_size,
            )
        )
    return shown


def _player(workspace: Workspace, clip: ShownClip) -> ClipPlayer:
    """Return the player of what the DiT generated for a clip. Raises UserError when it was not kept."""
    path = workspace.predictions / f"{clip.clip_id}.safetensors"
    tensors = load_tensors(path)
    if "dit_gaussians" not in tensors:
        raise UserError(f"{path}: has no moving Gaussians of the DiT. Run `dvc repro sample` again.")
    gaussians = Gaussians.from_activated14(tensors["dit_gaussians"])
    return ClipPlayer.of(workspace, clip.clip_id, gaussians, {"group": clip.group, "scores": clip.caption})


def _to_uint8(images: Tensor) -> np.ndarray:
    return (images * 255.0).round().byte().numpy()
