"""Stage `report`: tables (csv, md, tex) and one self-contained page from what the other stages wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from gvf.config.params import Params
from gvf.config.report import ReportConfig
from gvf.data.clips import load_views, on_white
from gvf.data.manifest import REJECTED, read_manifest
from gvf.errors import UserError
from gvf.storage.files import atomic_path, fresh_directory, load_npz, read_json
from gvf.tracking import client as tracking
from gvf.tracking import run_records
from gvf.workspace import Workspace
from gvf_evaluation import published
from gvf_evaluation.reporting.charts import Lines, Scatter, lines_chart, scatter_chart
from gvf_evaluation.reporting.page import (
    Page,
    RunLink,
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
from gvf_evaluation.reporting.pictures import stack
from gvf_evaluation.reporting.shown_clips import METHOD_LABELS, ShownClip, choose, choose_failures, show
from gvf_evaluation.results import (
    MEASURED,
    PUBLISHED,
    TABLE_1_CAPTION,
    devices,
    pipeline_row,
    read_results,
    seconds_of,
    table_1_rows,
    time_of,
)
from gvf_evaluation.score_files import ScoreFiles
from gvf_evaluation.tables import write_table

FRONTAL = 0  # the conditioning video that sampling starts from
# What the page shows of each stage; its own figures come afterwards.
TRAINED = ("train-vae-static", "train-vae-joint", "train-dit")
STAGES = ("collect", "curate", "render", "featurize", *TRAINED[:2], "encode", *TRAINED[2:], "sample", "evaluate")
OVER_TIME_CAPTION = (
    "Quality frame by frame: means over views and clips. The first frame is the canonical one for every method. Chamfer is "
    "the distance between the Gaussians' centres and points on the true surface: half the sum of both mean distances to the "
    "nearest, in units of the object's longest side, without alignment."
)
OVER_TIME = {"psnr": "PSNR, dB", "chamfer": "Chamfer distance"}  # drawn; the table holds the others too
COMPARED = ("vae", "dit")  # with the references and each other
MOST_REJECTED = 50  # rows shown of the table of rejected clips

LABELS = {
    **METHOD_LABELS,
    "static": "Static (reference)",
    "interpolated": "Interpolated (reference)",
    "all": "all",
    "seen": "asset seen in training",
    "unseen": "asset not seen",
}


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Write `reports/tables` and `reports/index.html`.

    The same inputs give the same bytes; only the page also says how long things took and links to MLflow's runs. Raises
    UserError when a file is missing, broken or lacks one of the methods that the page compares.
    """
    files = ScoreFiles(workspace.scores)
    measurement = read_json(files.measurement)
    clips, summary, frames = (_read_table(path) for path in (files.clips, files.summary, files.frames))
    _check_methods(summary, files.summary)
    manifest, generation = read_manifest(workspace.curated_manifest), read_json(workspace.generation)
    results = read_results(workspace)
    table = table_1_rows(results, pipeline_row(summary, measurement, generation["device"]))
    _write_tables(workspace, measurement, clips, summary, frames, manifest, table)
    shown, failures = (
        _show(workspace, clips, chosen, params.report) for chosen in (choose(clips), choose_failures(clips))
    )
    page = _page(workspace, measurement, clips, summary, frames, manifest, shown, failures, table, results, generation)
    with atomic_path(workspace.page) as partial:
        partial.write_text(render(page), encoding="utf-8")
    for clip in (*shown, *failures):
        tracking.log_figure(f"{clip.why}-{clip.clip_id}", stack(clip.strips))
    return {"clips_shown": len(shown) + len(failures)}


def _check_methods(summary: pd.DataFrame, path: Path) -> None:
    if absent := [name for name in COMPARED if name not in set(summary["method"])]:
        raise UserError(
            f"{path}: has no figures of {' and '.join(absent)}, and the report compares {' with '.join(COMPARED)}. Set "
            f"sample.methods to [{', '.join(COMPARED)}] and run `dvc repro`."
        )


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run the stage that writes it (`dvc repro`).") from None


def _show(
    workspace: Workspace, clips: pd.DataFrame, chosen: Sequence[tuple[str, str]], config: ReportConfig
) -> list[ShownClip]:
    shown = []
    for why, clip_id in chosen:
        video, truth = (_bytes(on_white(load_views(workspace, clip_id, kind).rgba)) for kind in ("video", "eval"))
        predictions = load_npz(workspace.predictions / f"{clip_id}.npz")
        methods = {name: predictions[f"{name}_rgb"] for name in METHOD_LABELS}
        frames, size = config.strip_frames, config.tile_size
        shown.append(show(why, clip_id, clips, video[FRONTAL], truth, methods, frames, size))
    return shown


def _bytes(picture: Tensor) -> np.ndarray:
    return (picture * 255.0).round().byte().numpy()


def _write_tables(
    workspace: Workspace,
    measurement: Mapping[str, Any],
    clips: pd.DataFrame,
    summary: pd.DataFrame,
    frames: pd.DataFrame,
    manifest: pd.DataFrame,
    table_1: pd.DataFrame,
) -> None:
    source = measured_caption(measurement)
    with fresh_directory(workspace.tables) as folder:
        write_table(_overall(summary), folder, "quality", f"Quality on held-out clips. {source}")
        write_table(_labelled(summary), folder, "quality_by_group", f"Quality by split and family. {source}")
        write_table(_labelled(clips), folder, "quality_by_clip", f"Quality clip by clip. {source}")
        over_time = _labelled(over_time_table(frames))
        write_table(over_time, folder, "quality_over_time", f"{OVER_TIME_CAPTION} {source}")
        write_table(curation_table(manifest), folder, "curation", f"Clips by decision. {source}")
        write_table(table_1, folder, "table_1", TABLE_1_CAPTION)


def measured_caption(measurement: Mapping[str, Any]) -> str:
    """Where measured figures come from, in one sentence."""
    held_out = f"the list {measurement['test_set']!r}" if measurement["test_set"] else "no published list"
    return (
        "Measured: preset {preset}, data {data}, code {code}, run {run}, {num_clips} held-out clips ({held_out}), "
        "{num_views} views of {num_frames} frames, {image_size} x {image_size} pixels.".format(
            **measurement, held_out=held_out
        )
    )


def over_time_table(frames: pd.DataFrame) -> pd.DataFrame:
    """Means over clips of every measure: a row a method and frame."""
    table = frames.drop(columns="clip_id").groupby(["method", "frame"], as_index=False).mean()
    order = {name: place for place, name in enumerate(METHOD_LABELS)}
    return table.sort_values(["method", "frame"], key=lambda column: column.replace(order)).reset_index(drop=True)


def over_time_charts(frames: pd.DataFrame) -> list[Lines]:
    """A chart of each measure in `OVER_TIME`, a line a method; none for clips of one frame."""
    table = over_time_table(frames)
    numbers = sorted(table["frame"].unique().tolist())
    charts = []
    for name in (name for name in OVER_TIME if name in table.columns and len(numbers) > 1):
        by_method = dict(list(table.groupby("method")[name]))
        lines = {METHOD_LABELS[key]: (key, by_method[key].tolist()) for key in METHOD_LABELS if key in by_method}
        charts.append(lines_chart(OVER_TIME[name], numbers, lines))
    return charts


def quality_against_time(results: Sequence[Mapping[str, Any]]) -> Scatter | None:
    """PSNR against generation time, published and of the results that have both. results: of `read_results`."""
    rows = published.table_1().to_dict("records")
    points = [(row["method"], PUBLISHED, seconds_of(row["time"]), row["psnr"]) for row in rows]
    for result in results:
        seconds, psnr = result["generation"]["seconds"], result["metrics"].get("psnr")
        if seconds is not None and psnr is not None:
            points.append((result["method"], MEASURED, seconds, psnr))
    return scatter_chart("PSNR, dB, against seconds of generation", points)


def curation_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Clips of each family: accepted in either split, and rejected by reason."""
    outcome = manifest["split"].where(manifest["decision"] != REJECTED, "rejected: " + manifest["reason"].astype(str))
    counts = pd.crosstab(manifest["family"], outcome)
    first = [name for name in ("train", "held_out") if name in counts.columns]
    counts = counts[first + [name for name in counts.columns if name not in first]]
    return counts.reset_index()


def rejected_table(manifest: pd.DataFrame, later: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Tabulate every rejected clip with its stage and reason. later: rejections of the stages after curation."""
    rows = manifest[manifest["decision"] == REJECTED].assign(stage="curate")
    columns = ["clip_id", "stage", "reason", "message"]
    return pd.concat([pd.DataFrame(later, columns=columns), rows[columns]], ignore_index=True)


def _page(
    workspace: Workspace,
    measurement: Mapping[str, Any],
    clips: pd.DataFrame,
    summary: pd.DataFrame,
    frames: pd.DataFrame,
    manifest: pd.DataFrame,
    shown: list[ShownClip],
    failures: list[ShownClip],
    table_1: pd.DataFrame,
    results: Sequence[Mapping[str, Any]],
    generation: Mapping[str, Any],
) -> Page:
    rejected = rejected_table(manifest, measurement["rejected"])
    low = axis_low(clips)
    return Page(
        measurement=measurement,
        tiles=_tiles(summary, measurement),
        quality=table_of(_overall(summary), lambda row: row[0] in {LABELS[name] for name in COMPARED}),
        groups=table_of(_labelled(summary[summary["group"] != "all"])),
        over_time=over_time_charts(frames),
        over_time_table=table_of(_labelled(over_time_table(frames))),
        over_time_caption=OVER_TIME_CAPTION,
        shown=shown,
        failures=failures,
        num_failures=int((clips[clips["method"] == "dit"]["gap_closed"] < 0).sum()),
        gaps=gap_rows(clips, low),
        axis=gap_axis(low),
        curves=[curves_of(stage, _read_table(workspace.curve(stage))) for stage in TRAINED],
        decisions=decision_bars(manifest),
        rejected=None if rejected.empty else table_of(rejected.head(MOST_REJECTED)),
        table_1=table_of(table_1, lambda row: MEASURED in row),
        table_1_caption=TABLE_1_CAPTION,
        quality_against_time=quality_against_time(results),
        timing=_timing(read_json(workspace.metrics("sample")), generation),
        device=devices(generation["device"], measurement["device"]),
        runs=_runs(),
        figures=[(stage, _figures(read_json(workspace.metrics(stage)))) for stage in STAGES],
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


def _timing(sample: Mapping[str, float], generation: Mapping[str, Any]) -> str:
    """How long generation took in the last run. On the page only: tables must come out the same every time."""
    return (
        f"This pipeline's generation took {time_of(sample['seconds_per_clip'])} a clip on {generation['device']}, clips in "
        f"batches of {generation['batch_size']}: the variation field, from the video's features to moving Gaussians. Its "
        "canonical Gaussians come from the mesh, so nothing is aligned. Drawing the evaluation views took "
        f"{time_of(sample['drawing_seconds_per_clip'])} more."
    )


def _runs() -> list[RunLink]:
    """Return the MLflow run behind each stage's outputs, where it was tracked on this machine."""
    records = [(stage, run_records.find(stage)) for stage in STAGES]
    return [RunLink(stage, record["run_name"], record["url"]) for stage, record in records if record is not None]


def _overall(summary: pd.DataFrame) -> pd.DataFrame:
    return _labelled(summary[summary["group"] == "all"].drop(columns=["group", "num_clips"]))


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(**{name: table[name].replace(LABELS) for name in ("method", "group") if name in table.columns})


def _figures(metrics: Mapping[str, float]) -> Table:
    rows = [[name, f"{value:.6g}" if isinstance(value, float) else str(value)] for name, value in metrics.items()]
    return Table(["Figure", "Value"], rows, [False, True], [False] * len(rows))
