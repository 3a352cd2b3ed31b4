"""Stage `report`: tables (csv, md, tex) and one self-contained page from what the other stages wrote."""

from __future__ import annotations

import numpy as np
import pandas as pd
from torch import Tensor

from gvf.config.params import Params
from gvf.config.report import ReportConfig
from gvf.data.clips import load_views, on_white
from gvf.storage.files import atomic_path, load_npz
from gvf.tracking import client as tracking
from gvf.workspace import Workspace
from gvf_evaluation.reporting.images import stack
from gvf_evaluation.reporting.inputs import read_inputs
from gvf_evaluation.reporting.report_page import build_page, render
from gvf_evaluation.reporting.report_tables import write_tables
from gvf_evaluation.reporting.shown_clips import METHOD_LABELS, ShownClip, choose, choose_failures, show

FRONTAL = 0  # the conditioning video that sampling starts from


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Write `reports/tables` and `reports/index.html`, and return how many clips the page shows.

    The same inputs give the same bytes; only the page also says how long stages took and links to MLflow's runs. Raises
    UserError as `read_inputs` does.
    """
    inputs = read_inputs(workspace)
    write_tables(inputs, workspace.tables)
    shown, failures = (
        [_show(workspace, *clip, inputs.clips, params.report) for clip in chosen]
        for chosen in (choose(inputs.clips), choose_failures(inputs.clips))
    )
    with atomic_path(workspace.page) as partial:
        partial.write_text(render(build_page(inputs, shown, failures)), encoding="utf-8")
    for clip in (*shown, *failures):
        tracking.log_figure(f"{clip.why}-{clip.clip_id}", stack(clip.strips))
    return {"clips_shown": len(shown) + len(failures)}


def _show(workspace: Workspace, why: str, clip_id: str, clips: pd.DataFrame, config: ReportConfig) -> ShownClip:
    """Read one clip's ground truth and predictions and return its images."""
    video, ground_truth = (_to_uint8(on_white(load_views(workspace, clip_id, kind).rgba)) for kind in ("video", "eval"))
    predictions = load_npz(workspace.predictions / f"{clip_id}.npz")
    methods = {name: predictions[f"{name}_rgb"] for name in METHOD_LABELS}
    return show(why, clip_id, clips, video[FRONTAL], ground_truth, methods, config.strip_frames, config.tile_size)


def _to_uint8(images: Tensor) -> np.ndarray:
    return (images * 255.0).round().byte().numpy()
