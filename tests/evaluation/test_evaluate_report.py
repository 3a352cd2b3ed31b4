"""Stages evaluate and report on drawn clips: metrics computed independently, and one self-contained page."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gvf.config.evaluate import EvaluateConfig
from gvf.config.report import ReportConfig
from gvf.config.run import RunConfig
from gvf.errors import StageError, UserError
from gvf.methods import METHODS, SPLIT
from gvf.stage_table import TRAINING_STAGES
from gvf.storage.files import read_json, save_npz, save_tensors, write_json
from gvf.workspace import Workspace
from gvf_evaluation.reporting import inputs, report_page
from gvf_evaluation.reporting.charts import quality_against_time
from gvf_evaluation.reporting.inputs import SHOWN_STAGES
from gvf_evaluation.reporting.report_tables import LABELS, split
from gvf_evaluation.reporting.shown_clips import METHOD_LABELS
from gvf_evaluation.results import write_result
from gvf_evaluation.score_files import ScoreFiles
from gvf_evaluation.stages import evaluate, report
from tests.sections import run_section
from tests.stages.curated_clips import box, write_curated

# Share of the static reference's error that the DiT keeps on each clip.
CLIPS = {"shown-near": 0.25, "shown-half": 0.5, "shown-far": 0.9}
FRAMES, SIZE = 3, 16
HERE = Workspace()
FILES = ScoreFiles(HERE.scores)


@dataclass(frozen=True)
class Source:
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Drawn:
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Sections:
    run: RunConfig
    collect: Source
    sample: Drawn
    evaluate: EvaluateConfig
    report: ReportConfig


SECTIONS: Any = Sections(
    run_section(),
    Source(("procedural",)),
    Drawn(("vae", "dit", "refined", "video", *SPLIT)),
    EvaluateConfig(metrics=("psnr", "ssim", "lpips", "fvd", "chamfer")),
    ReportConfig(strip_frames=2, tile_size=128),
)


def draw_truth() -> np.ndarray:
    """[T, 4, S, S, 4]: an opaque red square that moves sideways over nothing."""
    rgba = np.zeros((FRAMES, 4, SIZE, SIZE, 4), np.uint8)
    for frame in range(FRAMES):
        rgba[frame, :, 4:12, 2 + 3 * frame : 8 + 3 * frame] = (200, 30, 30, 255)
    return rgba


def draw_methods(keep: float) -> dict[str, np.ndarray]:
    """uint8 [T, 4, S, S, 3] over white: standing still, nearly the ground truth, and mixtures."""
    rgba = draw_truth().astype(float)
    truth = np.where(rgba[..., 3:] > 0, rgba[..., :3], 255.0)
    still = np.broadcast_to(truth[:1], truth.shape)
    shares = {"static": 1.0, "interpolated": 0.05, "vae": 0.1, "dit": keep, "refined": 0.5 * keep, "video": 0.6}
    shares |= {"video_true_shape": 0.2, "video_true_alignment": 0.5, "video_true_motion": 0.55}
    return {f"{name}_rgb": np.rint(truth + share * (still - truth)).astype(np.uint8) for name, share in shares.items()}


def place_gaussians(keep: float) -> dict[str, torch.Tensor]:
    """Gaussians on the box's corners: VAE and interpolation move with it, the DiT by the rest of what it keeps, refined by half."""
    points = torch.from_numpy(box(FRAMES).vertices)
    canonical = torch.zeros(points.shape[1], 14)
    canonical[:, :3] = points[0]
    canonical[:, 6:11] = torch.tensor([0.5, 0.1, 0.1, 0.1, 1.0])  # opacity, scales, w of the rotation
    generated = canonical.repeat(len(points), 1, 1)
    generated[..., :3] = points[0] + (1 - keep) * (points - points[0])
    means = {"interpolated": points, "vae": points.clone(), "dit": generated[..., :3].clone()}
    means["refined"] = points[0] + (1 - 0.5 * keep) * (points - points[0])
    means |= {name: points[:, :5].clone() for name in ("video", *SPLIT)}  # of another object, with fewer Gaussians
    return {
        "canonical": canonical,
        "dit_gaussians": generated,
        **{f"{name}_means": value for name, value in means.items()},
    }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Everything the two stages read; evaluated once."""
    folder = tmp_path_factory.mktemp("evaluated")
    before = Path.cwd()
    os.chdir(folder)
    try:
        write_curated({**dict.fromkeys(CLIPS, "held_out"), "kept": "train", "dropped": None})
        cameras = {"viewmats": np.tile(np.eye(4, dtype=np.float32), (4, 1, 1)), "Ks": np.ones((4, 3, 3), np.float32)}
        cameras["viewmats"][:, 2, 3] = 2.0
        for clip, keep in CLIPS.items():
            truth = draw_truth()
            images = {"eval_rgba": truth, "video_rgba": truth[None, :, 0]}
            named = {f"{kind}_{name}": value for kind in ("eval", "video") for name, value in cameras.items()}
            save_npz(f"data/renders/{clip}.npz", **images, **named)
            save_npz(f"data/predictions/{clip}.npz", **draw_methods(keep))
            save_tensors(f"data/predictions/{clip}.safetensors", place_gaussians(keep))
        write_json(HERE.generation, {"device": "a card", "batch_size": 2, "clips_at_once": 2})
        for stage in TRAINING_STAGES:
            Path("reports/curves").mkdir(parents=True, exist_ok=True)
            Path(f"reports/curves/{stage}.csv").write_text("step,loss,learning_rate\n1,2.0,0.1\n2,1.0,0.1\n3,0.5,0.1\n")
        for stage in SHOWN_STAGES:
            write_json(f"reports/metrics/{stage}.json", {"figure": 1.5})
        write_json("reports/metrics/sample.json", {"seconds_per_clip": 0.25, "drawing_seconds_per_clip": 0.125})
        write_json("reports/metrics/evaluate.json", evaluate.run(SECTIONS, Workspace()))
        yield folder
    finally:
        os.chdir(before)


@pytest.fixture
def here(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    return workspace


def test_figures_are_those_of_plain_numpy(here: Path) -> None:
    clips = pd.read_csv(FILES.clips).set_index(["clip_id", "method"])
    rgba = draw_truth().astype(float)
    truth = np.where(rgba[..., 3:] > 0, rgba[..., :3], 255.0) / 255
    expected: dict[str, list[float]] = {}
    for clip, keep in CLIPS.items():
        for name, image in draw_methods(keep).items():
            errors = ((image / 255 - truth) ** 2).mean(axis=(2, 3, 4))
            values = np.where(errors > 0, -10 * np.log10(np.maximum(errors, 1e-30)), 100.0)
            method = name.removesuffix("_rgb")
            assert clips.at[(clip, method), "psnr"] == pytest.approx(values.mean(), abs=1e-4)
            expected.setdefault(method, []).append(values.mean())
    means = {method: np.mean(values) for method, values in expected.items()}
    found = read_json("reports/metrics/evaluate.json")
    assert found["num_clips"] == 3
    assert found["dit_psnr"] == pytest.approx(means["dit"], abs=1e-4)
    gap = (means["dit"] - means["static"]) / (means["interpolated"] - means["static"])
    assert found["dit_gap_closed"] == pytest.approx(gap, abs=1e-4)
    assert 0 < found["dit_gap_closed"] < found["vae_gap_closed"] < 1
    assert found["vae_gap_closed_seen"] == pytest.approx(found["vae_gap_closed"])


def test_chamfer_distances_are_those_of_all_pairs(here: Path) -> None:
    frames = pd.read_csv(FILES.frames).set_index(["clip_id", "method", "frame"])["chamfer"].sort_index()
    clips = pd.read_csv(FILES.clips).set_index(["clip_id", "method"])["chamfer"]
    points = box(FRAMES).vertices.astype(float)
    for clip, keep in CLIPS.items():
        for method, share in (
            ("static", 0.0),
            ("interpolated", 1.0),
            ("vae", 1.0),
            ("dit", 1 - keep),
            ("refined", 1 - keep / 2),
        ):
            for frame in range(FRAMES):
                centres = points[0] + share * (points[frame] - points[0])
                pairs = np.linalg.norm(centres[:, None] - points[frame], axis=-1)
                expected = (pairs.min(0).mean() + pairs.min(1).mean()) / 2
                assert frames[clip, method, frame] == pytest.approx(expected, abs=1e-5)
            assert clips[clip, method] == pytest.approx(frames[clip, method].mean(), abs=1e-5)
    report.run(SECTIONS, Workspace())
    table = pd.read_csv(HERE.tables / "quality_over_time.csv")
    assert table["method"].unique().tolist() == [LABELS[name] for name in METHODS if name not in SPLIT]
    assert table["frame"].tolist() == [0, 1, 2] * 6
    at = table.set_index(["method", "frame"])["chamfer"]
    assert at["DiT generation", 1] == pytest.approx(np.mean([frames[clip, "dit", 1] for clip in CLIPS]))


def test_displacement_errors_are_the_share_of_the_motion_that_is_missing(here: Path) -> None:
    clips = pd.read_csv(FILES.clips).set_index(["clip_id", "method"])["displacement_error"]
    for clip, keep in CLIPS.items():
        found = clips[clip].to_dict()
        for name in ("video", *SPLIT):
            assert math.isnan(found.pop(name)), "its Gaussians are others than those that the mesh moves"
        assert found == pytest.approx(
            {"static": 1.0, "interpolated": 0.0, "vae": 0.0, "dit": keep, "refined": 0.5 * keep}, abs=1e-5
        )
    summary = pd.read_csv(FILES.summary).set_index(["group", "method"])["displacement_error"]
    assert summary["motion small", "dit"] == pytest.approx(np.mean(list(CLIPS.values())), abs=1e-5)
    metrics = read_json("reports/metrics/evaluate.json")
    assert metrics["dit_displacement_error"] == pytest.approx(summary["all", "dit"], abs=1e-5)
    assert "static_displacement_error" not in metrics


def test_quality_over_time_is_that_of_each_frame(here: Path) -> None:
    """The first frame is the same for all methods, so they have no error there; the DiT's later ones by hand."""
    frames = pd.read_csv(FILES.frames).set_index(["clip_id", "method", "frame"]).sort_index()
    clips = pd.read_csv(FILES.clips).set_index(["clip_id", "method"])
    rgba = draw_truth().astype(float)
    truth = np.where(rgba[..., 3:] > 0, rgba[..., :3], 255.0) / 255
    for clip, keep in CLIPS.items():
        errors = ((draw_methods(keep)["dit_rgb"] / 255 - truth) ** 2).mean(axis=(1, 2, 3, 4))
        found = [frames.at[(clip, "dit", frame), "psnr"] for frame in range(FRAMES)]
        assert found == pytest.approx([100.0, *(-10 * np.log10(errors[1:]))], abs=1e-4)
        for name in ("psnr", "ssim"):
            assert clips.at[(clip, "dit"), name] == pytest.approx(frames.loc[clip, "dit"][name].mean(), abs=1e-5)


def test_the_measurement_says_where_it_comes_from_and_what_is_missing(here: Path) -> None:
    measurement = read_json(FILES.measurement)
    assert measurement["run"].startswith("cpu-procedural-")
    assert (measurement["num_clips"], measurement["num_frames"], measurement["num_views"]) == (3, FRAMES, 4)
    assert measurement["image_size"] == SIZE
    assert measurement["test_set"] is None  # drawn clips are on no published list
    assert measurement["device"].endswith("cores")
    for name, reason in measurement["absent"].items():
        assert name in ("lpips", "fvd")
        assert len(reason) > 20


class Page(HTMLParser):
    """Collects tags, addresses and text."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.images = 0
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [str(values[name]) for name in ("src", "href", "srcset") if name in values]
        if tag == "img":
            self.images += 1
            assert values["alt"]
        if tag not in ("meta", "link", "img", "br", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_self_contained_and_the_same_every_time(here: Path) -> None:
    found = report.run(SECTIONS, Workspace())
    assert found == {"clips_shown": 3}
    first = HERE.page.read_bytes()
    tables = {path.name: path.read_bytes() for path in HERE.tables.iterdir()}
    players = {path.name: path.read_bytes() for path in HERE.clip_pages.iterdir()}
    assert players.keys() == {f"{clip}.html" for clip in CLIPS}
    assert report.run(SECTIONS, Workspace()) == found
    assert {path.name: path.read_bytes() for path in HERE.clip_pages.iterdir()} == players
    assert HERE.page.read_bytes() == first
    assert {path.name: path.read_bytes() for path in HERE.tables.iterdir()} == tables

    text = first.decode()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert text.startswith("<!doctype html>")
    assert not re.search(r"@import|url\((?!#)|<script", text)  # url(#...) is a clip path inside a chart
    links = [address for address in page.addresses if not address.startswith("data:")]
    assert links == [f"clips/{clip}.html" for clip in CLIPS]
    assert page.images == 3 * 7 * 2
    assert (
        text.count("<svg ") == len(TRAINING_STAGES) + 5
    )  # quality over time (2), gaps, curation, quality against time
    assert text.count("<desc>") == text.count('role="img"') == text.count("<svg ")
    identifiers = re.findall(r' id="([^"]*)"', text)
    assert len(identifiers) == len(set(identifiers))
    for label in ("Conditioning video", "Ground truth", *METHOD_LABELS.values()):
        assert label in page.text
    places = [page.text.index(f"{why} 1: {clip}") for why, clip in zip(("Best", "Median", "Worst"), CLIPS)]
    assert places == sorted(places)
    assert "0 of 3 clips the DiT does worse than Static" in page.text
    assert "Displacement error: DiT 0.90, refined 0.45. PSNR in dB" in page.text
    assert "Kind prop, motion 0.10; the asset was seen in training" in page.text
    assert text.count(" dB in ") == 6  # the published rows, each with its time, in the chart's description
    assert "<dt>MLflow" not in text
    table_1 = page.text.index("Table 1: video to 4D")
    assert "18.47" in page.text[table_1:]
    assert "18.47" not in page.text[:table_1]


def test_times_are_on_the_page_only_and_both_devices_everywhere(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report.run(SECTIONS, Workspace())
    tables = {path.name: path.read_bytes() for path in HERE.tables.iterdir()}
    found = read_json("reports/metrics/sample.json")
    read = inputs.read_json
    slower = {name: 500 * seconds for name, seconds in found.items()}
    monkeypatch.setattr(inputs, "read_json", lambda path: slower if Path(path).name == "sample.json" else read(path))
    report.run(SECTIONS, Workspace())
    text = HERE.page.read_text()
    assert "took 2.08 min per clip on a card in batches of 2 clips, from image features" in text
    assert "per clip, with 2 clips drawn at a time." in text
    assert "evaluation views took another 1.04 min per clip" in text
    assert {path.name: path.read_bytes() for path in HERE.tables.iterdir()} == tables
    device = f"generated on a card; scored on {read_json(FILES.measurement)['device']}"
    assert f"<dt>Device</dt><dd>{device}</dd>" in text
    assert pd.read_csv(HERE.tables / "table_1.csv").iloc[-1]["device"] == device
    for words in ("VGG16", "n = 100 objects", "generation time of this pipeline is on the page"):
        assert words in (HERE.tables / "table_1.md").read_text()


def test_the_chart_takes_times_from_results_and_published_words(here: Path) -> None:
    generation = {"seconds": 1208.0, "seconds_in_all": None, "device": "a card"}
    result = {"method": "Peer", "protocol": "gvf", "data": "2 objects", "ground_truth_sha256": "0", "device": "a CPU"}
    result |= {"generation": generation, "metrics": {"psnr": 17.0}}
    untimed = {**result, "generation": {**generation, "seconds": None}}
    methods = report_page.timed_methods([result, untimed, {**result, "metrics": {"ssim": 0.5}}])
    assert len(methods) == 7
    times = methods.set_index("method")
    assert times.at["Peer", "seconds"] == 1208
    assert times.at["SC4D", "seconds"] == 1200  # published as ~20 min
    assert times["is_published"].tolist() == [True] * 6 + [False]
    chart = quality_against_time(methods)
    assert chart is not None
    assert "Peer 17.00 dB in 1208 s" in chart
    path = write_result(Workspace(), result)
    try:
        report.run(SECTIONS, Workspace())
    finally:
        path.unlink()
    assert pd.read_csv(HERE.tables / "table_1.csv").set_index("method").at["Peer", "time"] == "20.1 min"
    assert HERE.page.read_text().count(" dB in ") == 7


@pytest.mark.parametrize(("methods", "absent"), [(("vae",), "dit"), (("dit",), "vae")])
def test_a_method_that_was_not_sampled_is_asked_for(
    here: Path, monkeypatch: pytest.MonkeyPatch, methods: tuple[str, ...], absent: str
) -> None:
    summary = pd.read_csv(FILES.summary)
    rows = summary[summary["method"].isin(("static", "interpolated", *methods))]
    monkeypatch.setattr(inputs, "_read_table", lambda path: rows if path == FILES.summary else pd.read_csv(path))
    with pytest.raises(UserError, match=rf"no values for {absent},.* Set sample\.methods to \[vae, dit\]"):
        report.run(SECTIONS, Workspace())


def test_the_page_links_to_the_runs_that_were_tracked(here: Path) -> None:
    record = Path("work/runs/train-dit.json")
    write_json(record, {"run_name": "cpu-procedural-1", "url": "http://127.0.0.1:5000/#/experiments/3/runs/4"})
    report.run(SECTIONS, Workspace())
    record.unlink()
    text = HERE.page.read_text()
    assert re.findall(r'<a href="(http[^"]*)">([^<]*)</a>', text) == [
        ("http://127.0.0.1:5000/#/experiments/3/runs/4", "train-dit")
    ]


def test_every_table_is_written_three_times_and_says_where_it_comes_from(here: Path) -> None:
    report.run(SECTIONS, Workspace())
    names = {path.stem for path in HERE.tables.iterdir()}
    quality = {"quality", "quality_by_group", "quality_by_clip", "quality_over_time"}
    assert names == {*quality, "video_only", "curation", "table_1"}
    for name in names:
        markdown = (HERE.tables / f"{name}.md").read_text()
        assert ("Published rows" in markdown) == (name == "table_1")
        assert ("Measured: preset cpu, data procedural" in markdown) == (name != "table_1")
        assert (HERE.tables / f"{name}.csv").is_file()
        assert r"\begin{tabular}" in (HERE.tables / f"{name}.tex").read_text()
    curation = pd.read_csv(HERE.tables / "curation.csv")
    assert curation.to_dict("records") == [{"kind": "prop", "train": 1, "held_out": 3, "rejected: motion": 1}]


def test_what_video_only_loses_is_split_over_the_clips_that_have_all_rows(here: Path) -> None:
    clips = pd.read_csv(FILES.clips)
    assert split(clips[~clips["method"].isin(SPLIT)]) is None
    lost = (clips["method"] == "video_true_motion") & (clips["clip_id"] == "shown-far")
    table = split(clips[~lost])
    assert table is not None
    assert table["num_clips"].tolist() == [2] * 6
    assert table[["shape", "alignment", "motion_source"]].values.tolist() == [
        ["generated", "generated", "generated"],
        ["true", "generated", "generated"],
        ["generated", "true", "generated"],
        ["generated", "generated", "true"],
        ["true", "true", "generated"],
        ["true", "true", "true"],
    ]
    kept = clips[clips["clip_id"] != "shown-far"].groupby("method")["psnr"].mean()
    gained = kept["video_true_shape"] - kept["video"]
    assert table["psnr_gained"][:2].tolist() == pytest.approx([0.0, gained], abs=1e-6)
    closed = (kept["video"] - kept["static"]) / (kept["interpolated"] - kept["static"])
    assert table["gap_closed"][0] == pytest.approx(closed, abs=1e-6)
    assert "Where video only loses" in HERE.page.read_text()


def test_missing_input_names_the_file_and_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"measurement.json: no such file"):
        report.run(SECTIONS, Workspace())
    write_curated({"kept": "train"})
    with pytest.raises(UserError, match=f"{HERE.curated_manifest}: no held-out clip"):
        evaluate.run(SECTIONS, Workspace())
    (tmp_path / "data/curated").rename(tmp_path / "old")
    write_curated({"unsampled": "held_out"})
    cameras = {"eval_viewmats": np.zeros((4, 4, 4), np.float32), "eval_Ks": np.zeros((4, 3, 3), np.float32)}
    save_npz("data/renders/unsampled.npz", eval_rgba=draw_truth(), **cameras)
    save_npz("data/predictions/unsampled.npz", dit_rgb=np.zeros((1, 1, 1, 1, 3), np.uint8))
    with pytest.raises(StageError, match=r"none of 1 clips .*unsampled.npz: has no array 'static_rgb'"):
        evaluate.run(SECTIONS, Workspace())
