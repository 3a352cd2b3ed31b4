"""The contents of the report page, from what the other stages wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from gvf.methods import DIT, INTERPOLATED, REFINED, STATIC, VAE
from gvf.metrics.table import METRICS
from gvf.stage_table import TRAINING_STAGES
from gvf_evaluation import published
from gvf_evaluation.reporting import charts
from gvf_evaluation.reporting import report_tables as tables
from gvf_evaluation.reporting.inputs import COMPARED, SHOWN_STAGES, ReportInputs
from gvf_evaluation.reporting.page import Page, RunLink, ShownShape, Table, Tile, render_template, table_of
from gvf_evaluation.reporting.shape_section import build_section
from gvf_evaluation.reporting.shown_clips import METHOD_LABELS, ShownClip
from gvf_evaluation.results import MEASURED, TABLE_1_CAPTION, devices, seconds_of, time_of
from gvf_evaluation.tables import definitions

DRAWN_OVER_TIME = ("psnr", "chamfer")  # the table holds the other metrics too
NOT_CURVES = ("step", "seconds", "learning_rate")  # columns of a curve file that are places on it or settings
MOST_REJECTED = 50  # rows shown of the table of rejected clips


def render(page: Page) -> str:
    """Return the page as HTML."""
    return render_template("index.html", page)


def build_page(
    inputs: ReportInputs, shown: Mapping[str, Sequence[ShownClip]], shown_shapes: Sequence[ShownShape]
) -> Page:
    """Return everything the page shows. shown: clips with their images, by group. shown_shapes: objects with theirs."""
    measurement = inputs.measurement
    gaps = tables.gaps_by_clip(inputs.clips)
    over_time = tables.over_time(inputs.frames)
    rejected = tables.rejected(inputs.manifest, measurement["rejected"])
    failed = tables.failed_methods(measurement["failures"])
    compared = {tables.LABELS[name] for name in COMPARED}
    lost = tables.split(inputs.clips)
    return Page(
        measurement=measurement,
        tiles=_tiles(inputs.summary, measurement),
        quality=table_of(tables.overall(inputs.summary), lambda row: row[0] in compared),
        definitions=definitions(inputs.summary),
        failed=None if failed.empty else table_of(failed),
        video_only=None if lost is None else table_of(lost),
        groups=table_of(tables.by_group(inputs.summary)),
        shapes=None
        if inputs.shapes is None
        else build_section(*inputs.shapes, measurement["shape_failures"], shown_shapes),
        shown=shown,
        num_failures=int((gaps[DIT] < 0).sum()),
        over_time=over_time_charts(over_time),
        over_time_table=table_of(tables.labelled(over_time)),
        over_time_caption=tables.OVER_TIME_CAPTION,
        gaps=charts.gap_closed(gaps),
        gaps_table=table_of(pd.DataFrame({"clip_id": gaps.index, **_percent(gaps, measurement["failures"])})),
        curves=[(stage, training_curves(stage, inputs.curves[stage])) for stage in TRAINING_STAGES],
        decisions=charts.clip_counts(tables.decision_counts(inputs.manifest)),
        rejected=None if rejected.empty else table_of(rejected.head(MOST_REJECTED)),
        num_rejected=len(rejected),
        table_1=table_of(tables.table_1(inputs), lambda row: MEASURED in row),
        table_1_caption=TABLE_1_CAPTION,
        quality_against_time=charts.quality_against_time(timed_methods(inputs.results)),
        timing=_timing(inputs.metrics["sample"], inputs.generation),
        device=devices(inputs.generation["device"], measurement["device"]),
        runs=[RunLink(stage, record["run_name"], record["url"]) for stage, record in inputs.runs.items()],
        stage_metrics=[(stage, _metrics_table(inputs.metrics[stage])) for stage in SHOWN_STAGES],
    )


def over_time_charts(means: pd.DataFrame) -> list[Markup]:
    """Return a chart for each metric in `DRAWN_OVER_TIME`, none for clips of one frame. means: of `over_time`."""
    names = [name for name in DRAWN_OVER_TIME if name in means.columns]
    drawn = [
        charts.quality_over_time(
            METRICS[name].axis_title, means.pivot(index="frame", columns="method", values=name), METHOD_LABELS
        )
        for name in names
    ]
    return [chart for chart in drawn if chart is not None]


def training_curves(stage: str, curve: pd.DataFrame) -> list[Markup]:
    """Return a chart of every column of a curve file that has two finite values, the loss first."""
    names = sorted((str(name) for name in curve.columns if name not in NOT_CURVES), key=lambda name: name != "loss")
    steps = curve["step"].tolist()
    minutes = (curve["seconds"] / 60.0).tolist() if "seconds" in curve.columns else None
    drawn = [charts.training_curve(stage, name, steps, curve[name].tolist(), minutes) for name in names]
    return [chart for chart in drawn if chart is not None]


def timed_methods(results: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return method, is_published, seconds and psnr of all methods, published and measured, that have a time and PSNR.

    results: of `read_results`.
    """
    rows = [
        (row["method"], True, seconds_of(row["time"]), row["psnr"]) for row in published.table_1().to_dict("records")
    ]
    for result in results:
        seconds, psnr = result["generation"]["seconds"], result["metrics"].get("psnr")
        if seconds is not None and psnr is not None:
            rows.append((result["method"], False, seconds, psnr))
    return pd.DataFrame(rows, columns=["method", "is_published", "seconds", "psnr"])


def _tiles(summary: pd.DataFrame, measurement: Mapping[str, Any]) -> list[Tile]:
    rows = summary[summary["group"] == "all"].set_index("method")
    psnr = rows["psnr"].astype(float).to_dict()
    gaps = rows["gap_closed"].astype(float).to_dict()
    between = f"between {psnr[STATIC]:.2f} dB (static) and {psnr[INTERPOLATED]:.2f} dB (interpolated)"
    tiles = []
    titles = {DIT: "Generation (DiT)", REFINED: "Generation, refined", VAE: "Reconstruction (VAE)"}
    for name, title in ((name, title) for name, title in titles.items() if name in gaps):
        value = f"{gaps[name]:.1%}" if gaps[name] == gaps[name] else "n/a"
        tiles.append(Tile(title, value, f"of the gap closed: PSNR {psnr[name]:.2f} dB, {between}"))
    seen = summary[(summary["group"] == "seen") & (summary["method"] == DIT)]["num_clips"].sum()
    note = f"{seen} of them show an asset seen in training" if seen else "none of them shows an asset seen in training"
    tiles.append(Tile("Held-out clips", str(measurement["num_clips"]), note))
    return tiles


def _percent(gaps: pd.DataFrame, failures: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    failed = {(failure["clip_id"], failure["method"]) for failure in failures}

    def text(clip: str, method: str, gap: float) -> str:
        if (clip, method) in failed:
            return "failed"
        return "no motion in these views" if gap != gap else f"{gap:.0%}"

    return {
        METHOD_LABELS[name]: [text(str(clip), name, gap) for clip, gap in gaps[name].items()] for name in (VAE, DIT)
    }


def _timing(sample: Mapping[str, float], generation: Mapping[str, Any]) -> str:
    """Return how long generation took in the last run; tables omit it, since they must not change between runs."""
    count = generation["clips_at_once"]
    at_once = f", with {count} clips drawn at a time" if count > 1 else ""
    return (
        f"Generation by this pipeline took {time_of(sample['seconds_per_clip'])} per clip on {generation['device']} in "
        f"batches of {generation['batch_size']} clips, from image features to moving Gaussians. The canonical Gaussians come "
        "from the mesh, so no time was spent on alignment. Rendering the evaluation views took another "
        f"{time_of(sample['drawing_seconds_per_clip'])} per clip{at_once}."
    )


def _metrics_table(metrics: Mapping[str, float]) -> Table:
    rows = [[name, f"{value:.6g}" if isinstance(value, float) else str(value)] for name, value in metrics.items()]
    return Table(["Metric", "Value"], rows, [False, True], [False] * len(rows))
