"""The report's section on objects that are generated from first frames: tables, and the worst objects by a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from gvf.methods import NEAREST, VIDEO_ONLY
from gvf_evaluation.reporting import report_tables as tables
from gvf_evaluation.reporting.images import fit, still_uri, strip
from gvf_evaluation.reporting.page import ShapeSection, ShownShape, table_of
from gvf_evaluation.shape_scores import IOU

NUM_WORST = 2  # objects shown
SHOWN = (VIDEO_ONLY, NEAREST)  # rows of images below the ground truth


def build_section(
    shapes: pd.DataFrame, summary: pd.DataFrame, failures: Sequence[Mapping[str, str]], shown: Sequence[ShownShape]
) -> ShapeSection:
    """Return the section. shapes, summary: as `evaluate` wrote them; failures: of shapes, of the measurement."""
    values = shapes.pivot(index="clip_id", columns="method", values=IOU)
    both = values.reindex(columns=[VIDEO_ONLY, NEAREST]).dropna()
    failed = tables.failed_methods(failures)
    return ShapeSection(
        caption=tables.SHAPES_CAPTION,
        table=table_of(tables.overall_shapes(summary), lambda row: row[0] == tables.LABELS[VIDEO_ONLY]),
        groups=table_of(tables.shapes_by_group(summary)),
        failed=None if failed.empty else table_of(failed),
        num_better=int((both[VIDEO_ONLY] > both[NEAREST]).sum()),
        num_compared=len(both),
        shown=shown,
    )


def worst(shapes: pd.DataFrame) -> list[str]:
    """Return the clips of the `NUM_WORST` worst generated objects, the worst first.

    Clips whose object failed come before those with the lowest voxel IoU; names decide between equals.
    """
    clips = pd.Index(sorted(shapes["clip_id"].unique()))
    found = shapes[shapes["method"] == VIDEO_ONLY].set_index("clip_id")[IOU].reindex(clips)
    return [str(clip) for clip in found.sort_values(na_position="first", kind="stable").index[:NUM_WORST]]


def show(
    clip_id: str,
    shapes: pd.DataFrame,
    nearest: str,
    failures: Sequence[Mapping[str, str]],
    image: np.ndarray,
    ground_truth: np.ndarray,
    methods: Mapping[str, np.ndarray],
    tile_size: int,
) -> ShownShape:
    """Return one object with its images.

    nearest: the clip of the nearest training object. image: uint8 [H, W, 3], the first frame; ground_truth and each method, some
    of `SHOWN`: uint8 [V, H, W, 3], the evaluation views.
    """
    own = shapes[shapes["clip_id"] == clip_id].set_index("method")
    values = [
        f"{tables.LABELS[name]}: IoU {own[IOU][name]:.3f}, PSNR {own['psnr'][name]:.2f} dB"
        for name in SHOWN
        if name in own.index
    ]
    lost = [
        f"{tables.LABELS[one['method']]} failed: {one['message'].rstrip('.')}"
        for one in failures
        if one["clip_id"] == clip_id
    ]
    labels = {VIDEO_ONLY: tables.LABELS[VIDEO_ONLY], NEAREST: f"Nearest object: {nearest}"}
    views = {"Conditioning image": image[None], "Ground truth": ground_truth}
    views |= {labels[name]: methods[name] for name in SHOWN if name in methods}
    rows = [(label, len(tiles), still_uri(strip(fit(tiles, tile_size)))) for label, tiles in views.items()]
    return ShownShape(clip_id, "; ".join(values + lost) + ".", rows)
