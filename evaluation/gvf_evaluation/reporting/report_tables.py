"""The tables of the report, from what the stage `evaluate` measured and what the stage `curate` decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gvf.data.manifest import REJECTED
from gvf.methods import (
    DIT,
    INTERPOLATED,
    MEAN_SHAPE,
    NEAREST,
    REFINED,
    SPLIT,
    STATIC,
    STRUCTURE_VAE,
    TRUE_ALIGNMENT,
    TRUE_MOTION,
    TRUE_SHAPE,
    TRUE_VOXELS,
    VAE,
    VIDEO_ONLY,
)
from gvf.storage.files import fresh_directory
from gvf_evaluation.held_out import DISPLACEMENT_ERROR, gap_closed
from gvf_evaluation.reporting.inputs import ReportInputs
from gvf_evaluation.reporting.shown_clips import METHOD_LABELS
from gvf_evaluation.results import TABLE_1_CAPTION, pipeline_rows, table_1_rows
from gvf_evaluation.shape_scores import IOU
from gvf_evaluation.tables import definitions, write_table

OVER_TIME_CAPTION = (
    "Quality at each frame, averaged over views and clips. The canonical Gaussians represent the first frame, so all methods "
    "start from nearly the same quality."
)
GROUPS_CAPTION = (
    "Mean quality by whether asset and skeleton were seen in training, by kind of object and by size of motion (distance that "
    "the fastest hundredth of the surface travels, in sides of the object: small below 0.3, medium below 0.6)."
)
SPLIT_CAPTION = (
    "Where video only loses: each row takes some of shape, alignment and motion from the mesh (true) and the rest from the "
    "frontal video (generated). Means over the clips that all rows have; PSNR gained is over the first row."
)
_TRUE, _GENERATED = "true", "generated"
_PARTS = {  # method -> where shape, alignment and motion come from
    VIDEO_ONLY: (_GENERATED, _GENERATED, _GENERATED),
    TRUE_SHAPE: (_TRUE, _GENERATED, _GENERATED),
    TRUE_ALIGNMENT: (_GENERATED, _TRUE, _GENERATED),
    TRUE_MOTION: (_GENERATED, _GENERATED, _TRUE),
    DIT: (_TRUE, _TRUE, _GENERATED),
    REFINED: (_TRUE, _TRUE, _GENERATED),
    VAE: (_TRUE, _TRUE, _TRUE),
}
_SPLIT_METRICS = ("psnr", "ssim", "chamfer")
SHAPES_CAPTION = (
    "Objects of the first frames of held-out clips, generated from that frame alone, in the object's own axes: no alignment is "
    "measured. Voxel IoU is that of the active voxels, the Chamfer distance that of the Gaussians' centres from the surface; image "
    "metrics are means over the evaluation views of the first frame. Nearest object: the training object whose image has the most "
    "similar tokens (cosine, after subtraction of the training mean), as its Gaussians and voxels stand in that image. Mean shape: "
    "the voxels that at least a certain share of training objects has, the share with the highest mean IoU in training; its "
    "Gaussians are decoded from the mean latent. Ceilings: the true voxels through the structure VAE, and the mesh through the "
    "canonical autoencoder."
)
LABELS = {
    **METHOD_LABELS,
    MEAN_SHAPE: "Mean shape (reference)",
    NEAREST: "Nearest object (reference)",
    STRUCTURE_VAE: "Structure VAE (ceiling)",
    TRUE_VOXELS: "Canonical autoencoder (ceiling)",
    TRUE_SHAPE: "Video only, true shape",
    TRUE_ALIGNMENT: "Video only, true alignment",
    TRUE_MOTION: "Video only, true motion",
    STATIC: "Static (reference)",
    INTERPOLATED: "Interpolated (reference)",
    "all": "all",
    "seen": "asset seen in training",
    "unseen": "asset not seen in training",
    "skeleton seen": "skeleton seen in training",
    "skeleton unseen": "skeleton not seen in training",
}


def write_tables(inputs: ReportInputs, folder: Path) -> None:
    """Write every table as csv, md and tex; the same inputs give the same bytes."""
    source = measured_caption(inputs.measurement)
    defined = " ".join(f"{title}: {text}" for title, text in definitions(inputs.summary).items())
    with fresh_directory(folder) as fresh:
        write_table(overall(inputs.summary), fresh, "quality", f"Mean quality on held-out clips. {source} {defined}")
        write_table(
            labelled(inputs.summary),
            fresh,
            "quality_by_group",
            f"{GROUPS_CAPTION} {source} {defined}",
        )
        write_table(
            labelled(inputs.clips), fresh, "quality_by_clip", f"Quality on each held-out clip. {source} {defined}"
        )
        write_table(
            labelled(over_time(inputs.frames)), fresh, "quality_over_time", f"{OVER_TIME_CAPTION} {source} {defined}"
        )
        write_table(
            decisions_by_kind(inputs.manifest),
            fresh,
            "curation",
            f"Number of clips by kind of object and decision. {source}",
        )
        if (lost := split(inputs.clips)) is not None:
            write_table(lost, fresh, "video_only", f"{SPLIT_CAPTION} {source} {defined}")
        if inputs.shapes is not None:
            shapes, means = inputs.shapes
            text = f"{SHAPES_CAPTION} {source} {defined}"
            write_table(overall_shapes(means), fresh, "shapes", text)
            write_table(labelled(means), fresh, "shapes_by_group", text)
            write_table(labelled(shapes), fresh, "shapes_by_clip", text)
        write_table(table_1(inputs), fresh, "table_1", TABLE_1_CAPTION)


def measured_caption(measurement: Mapping[str, Any]) -> str:
    """Return a sentence that says how the values of a table were measured."""
    held_out = (
        "the published list {test_set!r}".format(**measurement) if measurement["test_set"] else "not a published list"
    )
    return (
        "Measured: preset {preset}, data {data}, code {code}, run {run}, {num_clips} held-out clips ({held_out}), "
        "{num_views} views of {num_frames} frames, {image_size} x {image_size} pixels.".format(
            **measurement, held_out=held_out
        )
    )


def overall(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the means over all held-out clips, one row per method, without those that split what `video` loses."""
    shown = summary[(summary["group"] == "all") & ~summary["method"].isin(SPLIT)]
    table = labelled(shown.drop(columns="group"))
    first = ["method", "num_clips", "gap_closed", DISPLACEMENT_ERROR]
    return table[[*first, *(name for name in table.columns if name not in first)]]


def split(clips: pd.DataFrame) -> pd.DataFrame | None:
    """Return the quality of `video` with more and more of it true; None unless such methods were sampled.

    Means are over the clips that all rows have. clips: one row per clip and method, as `evaluate` wrote it.
    """
    found = set(clips["method"])
    if VIDEO_ONLY not in found or not found.intersection(SPLIT):
        return None
    left_out = DIT if REFINED in found else REFINED  # motions of `video` are refined where those of `dit` are
    rows = [name for name in _PARTS if name in found and name != left_out]
    shown = clips[clips["method"].isin([STATIC, INTERPOLATED, *rows])]
    whole = shown.groupby("clip_id").filter(lambda part: set(rows) <= set(part["method"]))
    if whole.empty:
        return None
    means = whole.groupby("method")[[name for name in _SPLIT_METRICS if name in clips.columns]].mean()
    psnr = means["psnr"]
    table = pd.DataFrame([_PARTS[name] for name in rows], columns=["shape", "alignment", "motion_source"])
    table = table.assign(num_clips=whole["clip_id"].nunique()).join(means.loc[rows].reset_index(drop=True))
    gaps = [gap_closed(psnr[name], psnr[STATIC], psnr[INTERPOLATED]) for name in rows]
    return table.assign(gap_closed=gaps, psnr_gained=[psnr[name] - psnr[VIDEO_ONLY] for name in rows])


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with readable names of methods and groups."""
    return table.assign(**{name: table[name].replace(LABELS) for name in ("method", "group") if name in table.columns})


def by_group(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row per group: its clips, and gap closed and displacement error of VAE, DiT and, where it is, refined motion."""
    names = ("gap_closed", DISPLACEMENT_ERROR)
    values = summary.pivot(index="group", columns="method", values=list(names))
    methods = [name for name in (VAE, DIT, REFINED) if name in set(summary["method"])]
    table = clips_by_group(summary, methods)
    for name in names:
        table = table.assign(**{f"{method}_{name}": values[name][method] for method in methods})
    return labelled(table.loc[summary["group"].unique()].reset_index())


def clips_by_group(summary: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Return the number of clips of each group (index), and of each method that failed on some of them."""
    counts = summary.pivot(index="group", columns="method", values="num_clips")
    table, most = pd.DataFrame({"num_clips": counts.max(axis=1).astype(int)}), counts.max(axis=1)
    for method in methods:
        if method in counts.columns and (own := counts[method].fillna(0).astype(int)).lt(most).any():
            table[f"{method}_num_clips"] = own
    return table


def overall_shapes(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the means over all clips' objects of first frames, one row per method. summary: of shapes."""
    return labelled(summary[summary["group"] == "all"].drop(columns="group").reset_index(drop=True))


def shapes_by_group(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row per group: its clips, and IoU and PSNR of the generated object and the nearest one. summary: of shapes."""
    table = clips_by_group(summary, (VIDEO_ONLY, NEAREST))
    for name in (IOU, "psnr"):
        values = summary.pivot(index="group", columns="method", values=name)
        table = table.assign(
            **{f"{method}_{name}": values[method] for method in (VIDEO_ONLY, NEAREST) if method in values}
        )
    return labelled(table.loc[summary["group"].unique()].reset_index())


def over_time(frames: pd.DataFrame) -> pd.DataFrame:
    """Return the means over clips of every metric, one row per method and frame, as `overall` leaves methods out."""
    table = (
        frames[~frames["method"].isin(SPLIT)]
        .drop(columns="clip_id")
        .groupby(["method", "frame"], as_index=False)
        .mean()
    )
    order = {name: place for place, name in enumerate(METHOD_LABELS)}
    return table.sort_values(["method", "frame"], key=lambda column: column.replace(order)).reset_index(drop=True)


def gaps_by_clip(clips: pd.DataFrame) -> pd.DataFrame:
    """Return the gap closed by the VAE and the DiT, one row per clip (index), the DiT's best first, NaN last."""
    gaps = clips.pivot(index="clip_id", columns="method", values="gap_closed")[[VAE, DIT]]
    return gaps.sort_values([DIT, VAE], ascending=False, na_position="last", kind="stable")


def decisions_by_kind(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the number of clips of each kind in each split, and of those rejected, by reason."""
    outcome = manifest["split"].where(manifest["decision"] != REJECTED, "rejected: " + manifest["reason"].astype(str))
    counts = pd.crosstab(manifest["kind"], outcome)
    first = [name for name in ("train", "held_out") if name in counts.columns]
    counts = counts[first + [name for name in counts.columns if name not in first]]
    return counts.reset_index()


def decision_counts(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the number of clips by split, then by reason of rejection: columns label, count and is_accepted."""
    is_accepted = manifest["decision"] != REJECTED
    splits = manifest[is_accepted]["split"].value_counts()
    reasons = manifest[~is_accepted]["reason"].value_counts().sort_index()
    rows = [(f"accepted, {name}", int(splits.get(split, 0)), True) for split, name in _SPLITS.items()]
    rows += [(f"rejected: {reason}", int(count), False) for reason, count in reasons.items()]
    return pd.DataFrame(rows, columns=["label", "count", "is_accepted"])


_SPLITS = {"train": "training", "held_out": "held-out"}


def failed_methods(failures: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return every method that failed on a clip, with the reason. failures: of the measurement."""
    return labelled(pd.DataFrame(failures, columns=["clip_id", "method", "reason", "message"]))


def rejected(manifest: pd.DataFrame, later: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return every rejected clip with its stage and reason. later: rejections by the stages after curation."""
    rows = manifest[manifest["decision"] == REJECTED].assign(stage="curate")
    columns = ["clip_id", "stage", "reason", "message"]
    return pd.concat([pd.DataFrame(later, columns=columns), rows[columns]], ignore_index=True)


def table_1(inputs: ReportInputs) -> pd.DataFrame:
    """Return Table 1: published rows, the last run of this pipeline, and other measured methods."""
    return table_1_rows(inputs.results, pipeline_rows(inputs.summary, inputs.measurement, inputs.generation["device"]))
