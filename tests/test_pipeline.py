"""One tiny set of clips through every stage: what each passes to the next, and that a broken asset affects no other clip."""

from __future__ import annotations

import importlib
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from gvf.config.load import load_params
from gvf.data.clips import clip_ids
from gvf.data.failures import read_failures
from gvf.data.latents import load_latents, load_statistics
from gvf.data.manifest import read_manifest
from gvf.data.rejections import read_rejections
from gvf.errors import UserError
from gvf.methods import SHAPES
from gvf.models.image_to_3d.ss_decoder import SsDecoder
from gvf.models.variation.dit import VideoCondition
from gvf.pipelines.animate_mesh import canonical_from_features
from gvf.pipelines.generator_export import ExportOptions, export
from gvf.pipelines.held_out_objects import GeneratedShape, HeldOutObject
from gvf.pipelines.video_to_4d import VideoTo4D
from gvf.stages import encode, train_dit
from gvf.storage.files import load_npz, load_tensors, read_json, save_tensors, sha256, write_json
from gvf.training.checkpoint import Checkpoints, TrainingState
from gvf.training.randomness import derive_seed
from gvf.workspace import Workspace
from gvf_evaluation.commands import report_ablations
from gvf_evaluation.commands.ablate import ablate
from gvf_evaluation.held_out import gap_closed
from tests.parameter_reads import recorded

ROOT = Path(__file__).resolve().parent.parent
ORDER = [
    "collect",
    "curate",
    "render",
    "featurize",
    "train_vae_static",
    "train_vae_joint",
    "encode",
    "train_dit",
    "train_structure",
    "train_appearance",
    "sample",
    "evaluate",
    "report",
]
PACKAGES = dict.fromkeys(ORDER, "gvf.stages") | dict.fromkeys(("evaluate", "report"), "gvf_evaluation.stages")
STEPS, LATENTS, CHANNELS = 3, 8, 4
FRAMES, SAMPLED_FRAMES = 3, 5  # of training clips and of held-out ones
READS: dict[str, set[str]] = {}  # stage -> parameters that it reads


def tiny_params(folder: Path) -> Path:
    """The CPU preset with everything as small as it goes."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["run"]["device"] = "cpu"
    values["execution"] |= {"executor": "inline", "log_every": 1}
    values["tracking"]["enabled"] = False
    values["collect"]["procedural"] = {"families": ["pendulum", "ball"], "clips_per_family": 3}
    values["curate"] |= {"num_frames": FRAMES, "num_points": 128, "held_out_fraction": 0.3}
    values["render"] |= {"image_size": 32, "samples": 1, "canonical_views": 3, "train_views": 1, "videos": 1}
    values["render"]["image_views"] = 2
    values["image_to_3d"] |= {"image_size": 32, "map_size": 4}
    values["ss_vae"] |= {"channels": [8, 4], "latent_channels": 3}
    flow = {"width": 12, "num_layers": 1, "num_heads": 2}
    values["ss_flow"] |= flow | {"resolution": 4, "latent_channels": 3}
    values["slat_flow"] |= flow | {"block_channels": [6], "num_res_blocks": 1}
    values["featurize"] |= {"token_grid": 2, "voxel_resolution": 8}
    values["static_vae"] |= {"resolution": 8, "width": 12, "num_layers": 2, "num_heads": 2}
    values["variation_vae"] |= {"width": 12, "num_layers": 1, "num_heads": 2, "num_latents": LATENTS}
    values["variation_vae"]["latent_channels"] = CHANNELS
    values["variation_dit"] |= {"width": 12, "num_layers": 1, "num_heads": 2, "num_static": 8}
    values["variation_dit"]["image_condition"] = "both"
    values["train_vae_static"]["views_per_clip"] = 1
    values["train_vae_joint"] |= {"frames_per_clip": 2, "rendered_frames": 1, "guided_gaussians": 16}
    values["train_vae_joint"]["motion_phase"] |= {"steps": 1, "points": 64, "guided_gaussians": 16}
    values["sample"]["num_frames"] = SAMPLED_FRAMES
    values["sample"]["solver"] = "multistep"
    values["sample"]["steps"] = 3
    values["sample"] |= {name: values["sample"][name] | {"num_steps": 2} for name in ("structure", "latents")}
    trainings = [values[section]["training"] for section in ("train_vae_static", "train_vae_joint", "train_dit")]
    trainings += [values["train_appearance"]["training"]]
    trainings += [values["train_structure"][part]["training"] for part in ("vae", "flow")]
    for training in trainings:
        training |= {"steps": STEPS, "batch_size": 2, "warmup_steps": 1}
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Every stage's metrics, and the folder they worked in."""
    folder = tmp_path_factory.mktemp("pipeline")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = load_params(tiny_params(folder))
        metrics, workspace = {}, Workspace()
        for stage in ORDER:
            name = stage.replace("_", "-")
            with recorded(params) as reads:
                metrics[stage] = importlib.import_module(f"{PACKAGES[stage]}.{stage}").run(params, workspace)
            READS[name] = {key for key in reads if not key.startswith(("execution.", "tracking."))}
            write_json(Path("reports/metrics") / f"{name}.json", metrics[stage])
    return metrics, folder


def test_every_stage_lists_the_parameters_that_it_reads_and_no_others(results):
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        listed = set(stage["params"])
        sections = {key for key in listed if "." not in key}
        covered = {key for key in READS[name] if key in listed or key.split(".")[0] in sections}
        assert READS[name] == covered, f"{name} reads {sorted(READS[name] - covered)}, which dvc.yaml does not list"
        # The preset's name is read in no other way than with a copy of all parameters, for the record of a measurement.
        used = {key for key in listed if any(read == key or read.startswith(f"{key}.") for read in READS[name])}
        assert listed - used <= {"run.preset"}, f"{name} reads nothing of {sorted(listed - used)}"


def test_every_metric_is_a_finite_number(results):
    metrics, _ = results
    for stage, values in metrics.items():
        for name, value in values.items():
            assert math.isfinite(float(value)), f"{stage}: {name}"


def test_clips_are_split_and_all_accounted_for(results):
    _, folder = results
    clips = read_manifest(Workspace(folder).curated_manifest)
    assert len(clips) == 6
    assert set(clips[clips["decision"] == "accepted"]["split"]) == {"train", "held_out"}


def test_curves_have_every_step_once(results):
    _, folder = results
    for stage in ("train-vae-static", "train-vae-joint", "train-dit", "train-structure", "train-appearance"):
        rows = (folder / "reports/curves" / f"{stage}.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows] == ["step", *(str(step) for step in range(1, STEPS + 1))]


def test_latents_have_the_configured_shape_and_unit_scale_over_training_clips(results):
    _, folder = results
    clips = read_manifest(Workspace(folder).curated_manifest)
    statistics = load_tensors(folder / "data/latents/statistics.safetensors")
    train = [
        load_tensors(folder / f"data/latents/{c}.safetensors") for c in clips[clips["split"] == "train"]["clip_id"]
    ]
    assert all(clip["mean"].shape == (FRAMES, LATENTS, CHANNELS) for clip in train)
    held_out = clips[clips["split"] == "held_out"]["clip_id"]
    for clip in held_out:
        assert len(load_tensors(folder / f"data/latents/{clip}.safetensors")["mean"]) == SAMPLED_FRAMES
        assert len(load_npz(folder / f"data/predictions/{clip}.npz")["dit_rgb"]) == SAMPLED_FRAMES
        assert len(load_npz(folder / f"data/renders/{clip}.npz")["eval_rgba"]) == SAMPLED_FRAMES
    means = torch.cat([clip["mean"].flatten(0, 1) for clip in train])
    torch.testing.assert_close(statistics["latent_mean"], means.mean(0), atol=1e-5, rtol=1e-4)
    variances = torch.cat([clip["logvar"].flatten(0, 1).exp() for clip in train]).mean(0)
    expected = (means.var(0, unbiased=False) + variances).sqrt()
    torch.testing.assert_close(statistics["latent_std"], expected, atol=1e-5, rtol=1e-4)


def test_static_reference_stands_still_and_interpolated_moves(results):
    _, folder = results
    for path in (folder / "data/predictions").glob("*.npz"):
        images = load_npz(path)
        assert (images["static_rgb"] == images["static_rgb"][:1]).all()
        assert (images["interpolated_rgb"][0] == images["static_rgb"][0]).all(), "frame 0 is canonical"
        assert (images["interpolated_rgb"] != images["static_rgb"]).any()


def test_the_finetuned_encoder_is_stage_ones(results):
    _, folder = results
    for network, is_kept in (("slat_encoder", True), ("gaussian_decoder", False)):
        static = load_tensors(folder / f"models/vae_static/{network}/model.safetensors")
        joint = load_tensors(folder / f"models/vae_joint/{network}/model.safetensors")
        assert static
        assert all(torch.equal(static[name], joint[name]) for name in static) == is_kept


def test_the_exported_generator_alone_gives_the_motions_that_were_sampled(results, tmp_path):
    """The exported folder, without the workspace's models and statistics, gives the stored fields bit for bit."""
    _, folder = results
    workspace, params = Workspace(folder), load_params(folder / "params.yaml")
    missing: list[str] = []
    export(workspace, params, ExportOptions(tmp_path / "exported"), missing.append)
    assert missing == []
    card = (tmp_path / "exported/README.md").read_text()
    assert f"| dit_psnr | {read_json(workspace.metrics('evaluate'))['dit_psnr']:.4g} |" in card
    assert "procedural" in card
    assert "| all |" in card, "quality by group"
    assert "| all | " in (tmp_path / "exported/DATA.md").read_text(), "clips by kind"
    pipeline = VideoTo4D.from_pretrained(tmp_path / "exported")
    assert pipeline.index.training.frames == FRAMES
    assert pipeline.index.sampling.steps == 3
    assert pipeline.index.image_encoder.preprocessing.size == params.render.image_size
    clips = clip_ids(workspace, "held_out", after=workspace.latents)
    features = [load_tensors(workspace.features / f"{clip}.safetensors") for clip in clips]
    videos = [torch.from_numpy(load_npz(workspace.renders / f"{clip}.npz")["video_rgba"][0]) for clip in clips]
    canonicals = [
        canonical_from_features(pipeline.vae, item["voxel_features"], item["voxels"]).clip(0) for item in features
    ]
    latents = [load_tensors(workspace.latents / f"{clip}.safetensors") for clip in clips]
    stored = [VideoCondition(item["video_tokens"][0], own["aligned"][0]) for item, own in zip(features, latents)]
    for video, canonical, expected in zip(videos, canonicals, stored):
        # Encoded in a worker with another number of threads, whose last bits may differ before they are rounded to float16.
        seen = pipeline.video(video, canonical, pipeline.handles(canonical)).map(torch.Tensor.half)
        torch.testing.assert_close(seen.tokens, expected.tokens, rtol=2e-3, atol=1e-3)
        torch.testing.assert_close(seen.aligned, expected.aligned, rtol=2e-3, atol=2e-3)
    generators = [torch.Generator().manual_seed(derive_seed(params.run.seed, "sample", clip)) for clip in clips]
    noise = [pipeline.noise(SAMPLED_FRAMES, generator) for generator in generators]
    generated = pipeline.generate(stored, canonicals, noise)
    for clip, canonical, field in zip(clips, canonicals, generated.fields):
        sampled = load_tensors(workspace.predictions / f"{clip}.safetensors")
        assert torch.equal(canonical.to_activated14(), sampled["canonical"])
        assert torch.equal(canonical.vary(field).to_activated14(), sampled["dit_gaussians"])
        assert field.abs().max() > 0


def test_a_network_is_refused_that_sees_what_was_not_encoded(results, tmp_path):
    """Under `tokens` no features are encoded at the latents; a network that sees them is not trained on such clips."""
    _, folder = results
    shutil.copytree(folder, tmp_path / "copy")
    workspace, params = Workspace(tmp_path / "copy"), load_params(folder / "params.yaml")
    other = replace(params.variation_dit, aligned_features=("values",), aligned_channels=180)
    with pytest.raises(UserError, match=r"clips have 658 channels .* needs 180\. Run `dvc repro encode`"):
        train_dit.run(replace(params, variation_dit=other), workspace)
    encode.run(replace(params, variation_dit=replace(params.variation_dit, image_condition="tokens")), workspace)
    workspace = Workspace(tmp_path / "copy")  # nothing that was read before is in memory
    (clip, *_) = clip_ids(workspace, "train", after=workspace.latents)
    assert len(load_latents(workspace, clip).aligned) == 0
    assert len(load_statistics(workspace).aligned_mean) == 0
    with pytest.raises(UserError, match=r"clips have 0 channels .*image_condition both needs 658"):
        train_dit.run(params, workspace)


def test_psnr_agrees_with_the_images(results):
    metrics, folder = results
    values_written = read_json(folder / "reports/metrics/evaluate.json")
    assert values_written == pytest.approx(metrics["evaluate"])
    values = []
    for path in sorted((folder / "data/predictions").glob("*.npz")):
        predicted = load_npz(path)["dit_rgb"] / 255.0
        rgba = load_npz(folder / "data/renders" / path.name)["eval_rgba"] / 255.0
        truth = rgba[..., :3] * rgba[..., 3:] + 1.0 - rgba[..., 3:]
        values.append((-10.0 * np.log10(((predicted - truth) ** 2).mean((-3, -2, -1)))).mean())
    assert values_written["dit_psnr"] == pytest.approx(np.mean(values), abs=1e-3)


def test_shapes_are_compared_where_the_true_object_stands(results):
    """The mesh's own Gaussians, from the turned voxels, lie where the canonical ones do that were made without turning."""
    metrics, folder = results
    workspace = Workspace(folder)
    nearest = read_json(workspace.nearest_images)
    train = clip_ids(workspace, "train", after=workspace.features)
    for clip in clip_ids(workspace, "held_out", after=workspace.features):
        assert nearest[clip]["clip"] in train
        arrays = load_npz(workspace.shapes / f"{clip}.npz")
        assert len(arrays["video_means"]) % len(arrays["video_voxels"]) == 0
        low, high = (getattr(arrays["true_voxels_means"], name)(axis=0) for name in ("min", "max"))
        points = load_npz(workspace.curated / f"{clip}.npz")["points"][0]
        np.testing.assert_allclose((low + high) / 2, (points.min(0) + points.max(0)) / 2, atol=1 / 8)
    assert set(pd.read_csv(folder / "reports/scores/shapes.csv")["method"]) == set(SHAPES)
    assert 0 <= metrics["evaluate"]["shape_video_iou"] <= 1


def test_the_page_is_one_file_that_fetches_nothing(results):
    _, folder = results
    page = (folder / "reports/index.html").read_text()
    assert "data:image/" in page
    assert 'src="http' not in page
    assert '<link rel="stylesheet"' not in page


def run_stages(names: list[str]) -> dict[str, dict[str, float]]:
    """Run stages in the working folder, as new processes would: nothing that was read before is in memory."""
    workspace = Workspace()
    params = load_params("params.yaml")
    metrics = {name: importlib.import_module(f"{PACKAGES[name]}.{name}").run(params, workspace) for name in names}
    for name, values in metrics.items():
        write_json(Path("reports/metrics") / f"{name}.json", values)
    return metrics


def test_clips_that_are_damaged_on_the_way_are_left_out_from_there_on(results, tmp_path, monkeypatch):
    _, folder = results
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    clips = read_manifest(Workspace().curated_manifest)
    train, held_out = (clips[clips["split"] == name]["clip_id"].tolist() for name in ("train", "held_out"))
    Path(f"data/curated/{train[0]}.npz").write_bytes(b"no archive")
    run_stages(["render"])
    Path(f"data/renders/{train[1]}.npz").write_bytes(b"no archive")
    run_stages(["featurize"])
    Path(f"data/features/{held_out[0]}.safetensors").write_bytes(b"no tensors")
    metrics = run_stages(["train_vae_static", "train_vae_joint", "encode", *ORDER[7:]])
    assert (metrics["encode"]["clips"], metrics["encode"]["rejected"]) == (len(clips[clips["split"].notna()]) - 3, 1)
    assert (metrics["sample"]["clips"], metrics["sample"]["rejected"]) == (len(held_out) - 1, 0)
    lost = {row.clip_id: row.stage for row in read_rejections("data/predictions")}
    assert lost == {train[0]: "render", train[1]: "featurize", held_out[0]: "encode"}
    assert set(pd.read_csv("reports/scores/clips.csv")["clip_id"]) == set(held_out[1:])
    assert {row["clip_id"] for row in read_json("reports/scores/measurement.json")["rejected"]} == set(lost)
    page = Path("reports/index.html").read_text()
    assert all(clip in page for clip in lost)


def test_a_method_that_fails_on_a_clip_costs_that_method_of_that_clip(results, tmp_path, monkeypatch):
    """`dit` cannot read the first clip's video, which `refined` lacks then, and the structure flow finds no voxel in the second."""
    _, folder = results
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    clips = read_manifest(Workspace().curated_manifest)
    unread, empty = clips[clips["split"] == "held_out"]["clip_id"].tolist()[:2]
    before = load_npz(f"data/predictions/{empty}.npz")
    tensors = load_tensors(f"data/features/{unread}.safetensors")
    wrong = {**tensors, "video_tokens": tensors["video_tokens"][..., :1]}  # what cannot even be put into a batch
    save_tensors(f"data/features/{unread}.safetensors", wrong)
    make = HeldOutObject._make

    def emptied(one: HeldOutObject) -> GeneratedShape:
        with monkeypatch.context() as patch:
            if one.clip == empty:
                patch.setattr(SsDecoder, "occupied", lambda network, latents: [torch.empty(0, 3)] * len(latents))
            return make(one)

    monkeypatch.setattr(HeldOutObject, "_make", emptied)
    metrics = run_stages(["sample", "evaluate", "report"])
    assert (metrics["sample"]["clips"], metrics["sample"]["rejected"], metrics["sample"]["failures"]) == (2, 0, 3)
    assert read_rejections("data/predictions") == []
    lost = {(one.clip_id, one.method): one for one in read_failures("data/predictions")}
    assert lost.keys() == {(unread, "dit"), (unread, "refined"), (empty, "video")}
    assert "no voxel is active" in lost[empty, "video"].message
    after = load_npz(f"data/predictions/{empty}.npz")
    assert before.keys() - after.keys() == {"video_rgb"}
    assert all((after[name] == before[name]).all() for name in after)
    scored = pd.read_csv("reports/scores/clips.csv").set_index(["clip_id", "method"])
    assert lost.keys().isdisjoint(scored.index)
    assert len(scored) == 2 * 6 - 3
    rows = pd.read_csv("reports/scores/summary.csv").set_index(["group", "method"])
    numbers = {"static": 2, "interpolated": 2, "vae": 2, "dit": 1, "refined": 1, "video": 1}
    assert rows.loc["all"]["num_clips"].to_dict() == numbers
    references = [scored.at[(empty, name), "psnr"] for name in ("static", "interpolated")]  # of the clip that `dit` has
    gap = gap_closed(scored.at[(empty, "dit"), "psnr"], *references)
    assert rows.at[("all", "dit"), "gap_closed"] == pytest.approx(gap, abs=1e-4, nan_ok=True)
    (shape,) = read_failures("data/predictions/shapes")
    assert (shape.clip_id, shape.method, shape.message) == (empty, "video", lost[empty, "video"].message)
    shapes = pd.read_csv("reports/scores/shape_summary.csv").set_index(["group", "method"]).loc["all"]
    assert shapes["num_clips"].to_dict() == dict.fromkeys(SHAPES, 2) | {"video": 1}
    page = Path("reports/index.html").read_text()
    assert page.count("no voxel is active") >= 3, "among methods, among shapes, and beside the object's images"
    assert f"Worst object 1: {empty}" in page
    assert "Methods that failed, by clip (3)" in page


def write_tiny_ablations() -> None:
    """Write what `ablate` needs beside the stages' outputs: its parameters, with two steps of training, and a lock file."""
    Path("dvc.lock").touch()
    Path("ablations").mkdir(exist_ok=True)
    variants = yaml.safe_load((ROOT / "ablations/params.yaml").read_text())
    variants["base"] = {name: {"training": {"steps": 2}} for name in ("train_vae_joint", "train_dit")}
    Path("ablations/params.yaml").write_text(yaml.safe_dump(variants))


def test_ablations_train_from_the_roots_outputs_and_leave_them_alone(results, monkeypatch):
    _, folder = results
    monkeypatch.chdir(folder)
    write_tiny_ablations()
    before = {path: sha256(path) for name in ("data", "models") for path in Path(name).rglob("*") if path.is_file()}
    ablate(Workspace(), "vae", "A", 0)
    ablate(Workspace(), "dit", "no-positions", 1)
    assert before == {
        path: sha256(path) for name in ("data", "models") for path in Path(name).rglob("*") if path.is_file()
    }
    vae, dit = (read_json(f"ablations/results/{name}.json") for name in ("vae-A-0", "dit-no-positions-1"))
    assert vae["changes"]["variation_vae.query"] == "position"
    assert vae["changes"]["train_vae_joint.variation_loss.mesh_guided"] == 0.0
    assert (dit["seed"], dit["changes"]["run.seed"], dit["changes"]["variation_dit.position_embedding"]) == (
        1,
        1,
        False,
    )
    assert {"vae_psnr", "vae_ssim", "static_psnr", "interpolated_psnr"} <= set(vae["figures"])
    assert not any(name.startswith("dit_") for name in vae["figures"])
    assert math.isfinite(dit["figures"]["dit_psnr"])
    assert not any(Path("ablations/work").iterdir())
    report_ablations.report(Workspace())
    table = pd.read_csv("reports/ablations/table_2.csv").set_index("config")
    assert table.loc["A", "psnr"] == pytest.approx(vae["figures"]["vae_psnr"])
    assert table.loc["A", "psnr_published"] == 23.25
    assert (table["seeds"] == [1, 0, 0, 0]).all()
    assert table.loc["D", ["psnr", "ssim"]].isna().all()
    page = Path("reports/ablations/index.html").read_text()
    assert page.count("data:image/") == 2, "a strip of each variant that was made"
    assert vae["clip"] in page


class Killed(BaseException):
    """What ends a run in the middle of its training."""


def test_an_ablation_that_was_killed_resumes_its_training_in_its_own_workspace(results, tmp_path, monkeypatch):
    _, folder = results
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("ablations"))
    monkeypatch.chdir(tmp_path / "copy")
    write_tiny_ablations()
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["execution"]["checkpoint_every"] = 1
    Path("params.yaml").write_text(yaml.safe_dump(values))
    save, saved = Checkpoints.save, []

    def save_and_note(checkpoints: Checkpoints, state: TrainingState) -> None:
        save(checkpoints, state)
        saved.append(state.step)

    def save_and_die(checkpoints: Checkpoints, state: TrainingState) -> None:
        save_and_note(checkpoints, state)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoints, "save", save_and_die)
        ablate(Workspace(), "dit", "pixel-aligned", 1)
    work = Path("ablations/work/dit-pixel-aligned-1")
    assert [path.name for path in Workspace(work).checkpoints("train-dit").iterdir()] == ["step-00000001"]
    first_step = read_json(Workspace(work).checkpoints("train-dit") / "step-00000001/state.json")["progress"]["rows"]
    assert not Path("ablations/results").exists()
    monkeypatch.setattr(Checkpoints, "save", save_and_note)
    ablate(Workspace(), "dit", "pixel-aligned", 1)
    assert saved == [1, 2], "step 1 is not trained again"
    curve = pd.read_csv("ablations/results/dit-pixel-aligned-1.csv")
    assert curve["step"].tolist() == [1, 2]
    assert curve["loss"][0] == pytest.approx(first_step[0]["loss"])
    assert not work.exists()
