"""Stage `report`: tables (csv, md, tex) and one self-contained page from what the other stages wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from evaluation.results import MEASURED, TABLE_1_CAPTION, pipeline_row, read_results, table_1_rows
from evaluation.tables import write_table
from gvf import tracking
from gvf.config.params import Params
from gvf.config.report import ReportConfig
from gvf.data.clip_store import PREDICTIONS, load_views, on_white
from gvf.data.manifest import CURATED_MANIFEST, REJECTED, read_manifest
from gvf.errors import UserError
from gvf.files import atomic_path, fresh_directory, load_npz, read_json
from gvf.reporting.page import (
    Page,
    Table,
    Tile,
    axis_low,
    curves_of,
    decision_bars,
    gap_axis,
    gap_rows,
    render,
    table_of,
)
from gvf.reporting.pictures import stack
from gvf.reporting.shown_clips import METHOD_LABELS, ShownClip, choose, show
from gvf.stages.evaluate import CLIPS, FRAMES, MEASUREMENT, SUMMARY

FRONTAL = 0  # the conditioning video that sampling starts from
CURVES = Path("reports/curves")
METRICS = Path("reports/metrics")
TABLES = Path("reports/tables")
PAGE = Path("reports/index.html")
# What the page shows of each stage; its own figures come afterwards.
TRAINED = ("train-vae-static", "train-vae-joint", "train-dit")
STAGES = ("collect", "curate", "render", "featurize", *TRAINED[:2], "encode", *TRAINED[2:], "sample", "evaluate")
CHAMFER_CAPTION = (
    "Chamfer distance over time, between the Gaussians' centres and points on the true surface: half the sum of both mean "
    "distances to the nearest, in units of the object's longest side, without alignment; means over clips."
)
MOST_REJECTED = 50  # rows shown of the table of rejected clips

LABELS = {
    **METHOD_LABELS,
    "static": "Static (reference)",
    "interpolated": "Interpolated (reference)",
    "all": "all",
    "seen": "asset seen in training",
    "unseen": "asset not seen",
}


def run(params: Params) -> dict[str, float]:
    """Write `reports/tables` and `reports/index.html`. The same inputs give the same bytes."""
    measurement = read_json(MEASUREMENT)
    clips, summary, frames = _read_table(CLIPS), _read_table(SUMMARY), _read_table(FRAMES)
    manifest = read_manifest(CURATED_MANIFEST)
    _write_tables(measurement, clips, summary, frames, manifest)
    shown = _show(clips, params.report)
    page = _page(measurement, clips, summary, frames, manifest, shown)
    text = render(page)
    with atomic_path(PAGE) as partial:
        partial.write_text(text, encoding="utf-8")
    for clip in shown:
        tracking.log_figure(f"{clip.why}-{clip.clip_id}", stack(clip.strips))
    return {"clips_shown": len(shown), "page_bytes": len(text.encode())}


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run the stage that writes it (`dvc repro`).") from None


def _show(clips: pd.DataFrame, config: ReportConfig) -> list[ShownClip]:
    shown = []
    for why, clip_id in choose(clips):
        video, truth = (_bytes(on_white(load_views(clip_id, kind).rgba)) for kind in ("video", "eval"))
        predictions = load_npz(PREDICTIONS / f"{clip_id}.npz")
        methods = {name: predictions[f"{name}_rgb"] for name in METHOD_LABELS}
        frames, size = config.strip_frames, config.tile_size
        shown.append(show(why, clip_id, clips, video[FRONTAL], truth, methods, frames, size))
    return shown


def _bytes(picture: Tensor) -> np.ndarray:
    return (picture * 255.0).round().byte().numpy()


def _write_tables(
    measurement: Mapping[str, Any],
    clips: pd.DataFrame,
    summary: pd.DataFrame,
    frames: pd.DataFrame,
    manifest: pd.DataFrame,
) -> None:
    source = measured_caption(measurement)
    with fresh_directory(TABLES) as folder:
        write_table(_overall(summary), folder, "quality", f"Quality on held-out clips. {source}")
        write_table(_labelled(summary), folder, "quality_by_group", f"Quality by split and family. {source}")
        write_table(_labelled(clips), folder, "quality_by_clip", f"Quality clip by clip. {source}")
        if not frames.empty:
            caption = f"{CHAMFER_CAPTION} {source}"
            write_table(chamfer_table(frames), folder, "chamfer_over_time", caption)
        write_table(curation_table(manifest), folder, "curation", f"Clips by decision. {source}")
        write_table(_table_1(summary, measurement), folder, "table_1", TABLE_1_CAPTION)


def _table_1(summary: pd.DataFrame, measurement: Mapping[str, Any]) -> pd.DataFrame:
    return table_1_rows(read_results(), pipeline_row(summary, measurement))


def measured_caption(measurement: Mapping[str, Any]) -> str:
    """Where measured figures come from, in one sentence."""
    held_out = f"the list {measurement['test_set']!r}" if measurement["test_set"] else "no published list"
    return (
        "Measured: preset {preset}, data {data}, code {code}, run {run}, {num_clips} held-out clips ({held_out}), "
        "{num_views} views of {num_frames} frames, {image_size} x {image_size} pixels.".format(
            **measurement, held_out=held_out
        )
    )


def chamfer_table(frames: pd.DataFrame) -> pd.DataFrame:
    """Means over clips: a row a frame, a column a method, and the mean over the sequence as the last row."""
    table = frames.pivot_table(index="frame", columns="method", values="chamfer", aggfunc="mean")
    table = table[[name for name in METHOD_LABELS if name in table.columns]]
    rows = [{"frame": str(frame), **row} for frame, row in zip(table.index, table.to_dict("records"))]
    rows.append({"frame": "all", **table.mean().to_dict()})
    return pd.DataFrame(rows)


def curation_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Clips of each family: accepted in either split, and rejected by reason."""
    outcome = manifest["split"].where(manifest["decision"] != REJECTED, "rejected: " + manifest["reason"].astype(str))
    counts = pd.crosstab(manifest["family"], outcome)
    first = [name for name in ("train", "held_out") if name in counts.columns]
    counts = counts[first + [name for name in counts.columns if name not in first]]
    return counts.reset_index()


def _page(
    measurement: Mapping[str, Any],
    clips: pd.DataFrame,
    summary: pd.DataFrame,
    frames: pd.DataFrame,
    manifest: pd.DataFrame,
    shown: list[ShownClip],
) -> Page:
    rejected = manifest[manifest["decision"] == REJECTED][["clip_id", "reason", "message"]]
    ours = {"vae", "dit"}
    low = axis_low(clips)
    return Page(
        measurement=measurement,
        tiles=_tiles(summary, measurement),
        quality=table_of(_overall(summary), lambda row: row[0] in {LABELS[name] for name in ours}),
        groups=table_of(_labelled(summary[summary["group"] != "all"])),
        chamfer=None if frames.empty else table_of(chamfer_table(frames)),
        chamfer_caption=CHAMFER_CAPTION,
        shown=shown,
        gaps=gap_rows(clips, low),
        axis=gap_axis(low),
        curves=[curves_of(stage, _read_table(CURVES / f"{stage}.csv")) for stage in TRAINED],
        decisions=decision_bars(manifest),
        rejected=None if rejected.empty else table_of(rejected.head(MOST_REJECTED)),
        table_1=table_of(_table_1(summary, measurement), lambda row: MEASURED in row),
        table_1_caption=TABLE_1_CAPTION,
        timing=_timing(read_json(METRICS / "sample.json"), measurement["device"]),
        figures=[(stage, _figures(read_json(METRICS / f"{stage}.json"))) for stage in STAGES],
    )


def _tiles(summary: pd.DataFrame, measurement: Mapping[str, Any]) -> list[Tile]:
    rows = summary[summary["group"] == "all"].set_index("method")
    psnr = rows["psnr"].astype(float).to_dict()
    gaps = rows["gap_closed"].astype(float).to_dict()
    between = f"from {psnr['static']:.2f} static to {psnr['interpolated']:.2f} interpolated"
    tiles = []
    for name, title in (("dit", "Generation (DiT)"), ("vae", "Reconstruction (VAE)")):
        figure = f"{gaps[name]:.1%}" if gaps[name] == gaps[name] else "n/a"
        tiles.append(Tile(title, figure, f"of the gap closed: PSNR {psnr[name]:.2f} dB, {between}"))
    ssim = f"SSIM {float(rows['ssim']['dit']):.3f}; " if "ssim" in rows.columns else ""
    tiles.append(Tile("PSNR of the DiT", f"{psnr['dit']:.2f} dB", f"{ssim}mean over pictures, views and clips"))
    seen = summary[(summary["group"] == "seen") & (summary["method"] == "dit")]["num_clips"].sum()
    note = f"{seen} show an asset that training saw" if seen else "none shows an asset that training saw"
    tiles.append(Tile("Held-out clips", str(measurement["num_clips"]), note))
    return tiles


def _timing(sample: Mapping[str, float], device: str) -> str | None:
    """How long generation took in the last run. On the page only: tables must come out the same every time."""
    if not sample.keys() >= {"seconds_per_clip", "drawing_seconds_per_clip"}:
        return None
    return (
        f"This pipeline's generation took {sample['seconds_per_clip']:.2g} s a clip on {device}: the variation field, from the "
        "video's features to moving Gaussians. Its canonical Gaussians come from the mesh, so nothing is aligned. Drawing "
        f"the evaluation views took {sample['drawing_seconds_per_clip']:.2g} s more."
    )


def _overall(summary: pd.DataFrame) -> pd.DataFrame:
    return _labelled(summary[summary["group"] == "all"].drop(columns=["group", "num_clips"]))


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(**{name: table[name].replace(LABELS) for name in ("method", "group") if name in table.columns})


def _figures(metrics: Mapping[str, float]) -> Table:
    rows = [[name, f"{value:.6g}" if isinstance(value, float) else str(value)] for name, value in metrics.items()]
    return Table(["Figure", "Value"], rows, [False, True], [False] * len(rows))
