"""`gvf models`: what the list shows, and what an export writes and refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from gvf.cli.models import command, shown_command
from gvf.errors import UserError
from gvf.pipelines import hub
from gvf.pipelines.generator_folder import generator_digest
from gvf.pipelines.generator_index import read_index
from gvf.pipelines.model_card import CardFacts
from gvf.pipelines.video_to_4d import VideoTo4D
from gvf.storage.files import load_tensors, save_tensors, write_json
from tests.pipelines.small_generator import small_generator
from tests.stages.curated_clips import write_curated

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a trained generator and the metrics of its evaluation, and nowhere else any generator."""
    small_generator().save_pretrained(tmp_path / "models/generator")
    write_json(tmp_path / "reports/metrics/evaluate.json", {"dit_psnr": 21.25, "clips": 4})
    digest = generator_digest(tmp_path / "models/generator")
    write_json(tmp_path / "reports/scores/measurement.json", {"generator_sha256": digest})
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    for name in ("GVF_WEIGHTS", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "shipped_generator", lambda: None)
    return tmp_path


def run(*arguments: str) -> str:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False).output


def test_a_card_shows_the_command_without_absolute_paths() -> None:
    words = ["models", "export", "--attribution", "/home/ann/notes.md", "--output=/tmp/a b", "--name", "tiny", "--half"]
    assert shown_command(words) == "gvf models export --attribution notes.md '--output=a b' --name tiny --half"
    assert shown_command(["models", "export", "--output", "work/out"]) == "gvf models export --output work/out"


def test_an_export_is_listed_with_its_metrics_and_loads(workspace: Path) -> None:
    (workspace / "authors.md").write_text("- A fox by Somebody, CC-BY 4.0\n")
    output = run("export", "--license", "apache-2.0", "--attribution", "authors.md")
    assert "work/exports/tiny: load it with VideoTo4D.from_pretrained('work/exports/tiny')" in output
    exported = Path("work/exports/tiny")
    card = (exported / "README.md").read_text()
    assert "A fox by Somebody, CC-BY 4.0" in card
    assert "license: apache-2.0" in card
    assert "Source of the training clips: procedural (12 clips)." in card, "as the training recorded it"
    index = read_index(exported)
    assert index.metrics == {"dit_psnr": 21.25, "clips": 4.0}
    assert index.sampling.solver == "multistep", "as in params.yaml, section sample"
    for name in ("variation_dit", "variation_vae", "slat_encoder", "gaussian_decoder"):
        files = [folder / name / "model.safetensors" for folder in (exported, workspace / "models/generator")]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert VideoTo4D.from_pretrained(exported).index == index
    assert "SHA-256 of 9 files as exported" in run("check", str(exported))
    lines = run("list").splitlines()
    parameters = sum(
        p.numel() for network in (small_generator().vae, small_generator().dit) for p in network.parameters()
    )
    shown = int(lines[1].split()[0].replace(",", ""))
    assert parameters <= shown <= parameters + 100, "buffers are stored too"
    assert lines[0] == "models/generator: A small generator"
    assert "metrics not recorded" in lines[2]
    assert lines[3] == "work/exports/tiny: A small generator, preset tiny"
    assert "dit_psnr 21.25" in lines[5]
    assert "absent; `gvf weights pull static-vae variation-vae dit statistics`" in lines[-1]


def test_an_export_in_half_precision_is_small_and_says_what_it_is(workspace: Path) -> None:
    rows = ["group,method,num_clips,psnr,displacement_error,gap_closed"]
    rows += ["all,vae,4,22.5,0.3,0.7", "all,dit,4,21.25,0.6,0.4", "kind fish,vae,1,20,,", "kind fish,dit,1,19,,"]
    (workspace / "reports/scores/summary.csv").write_text("\n".join(rows) + "\n")
    write_json(workspace / "reports/metrics/train-dit.json", {"loss": 0.5, "steps": 1200, "seconds": 90.0})
    write_curated({"kept": "train", "first": "held_out", "second": "held_out"})
    output = run("export", "--output", "pretrained/gvf-small", "--name", "gvf-small", "--half", "--largest", "25")
    assert "data/latents: not here, so what float16 costs was not measured" in output
    exported = workspace / "pretrained/gvf-small"
    for name in ("variation_dit", "variation_vae", "slat_encoder", "gaussian_decoder"):
        halved = load_tensors(exported / name / "model.safetensors")
        exact = load_tensors(workspace / "models/generator" / name / "model.safetensors")
        assert {tensor.dtype for tensor in halved.values() if tensor.is_floating_point()} == {torch.float16}
        for key, tensor in exact.items():
            assert torch.equal(halved[key], tensor.half() if tensor.is_floating_point() else tensor)
    card = (exported / "README.md").read_text()
    assert "# gvf-small\n" in card
    assert "| all | 4 | 70.0% | 40.0% | 0.300 | 0.600 |" in card
    assert "| kind fish | 1 | n/a | n/a | n/a | n/a |" in card
    assert "- train-dit: 1,200 steps, 1.5 minutes" in card
    assert "Weights are stored as float16" in card
    data = (exported / "DATA.md").read_text()
    assert "# Data of gvf-small" in data
    assert "| prop | 1 | 2 | 0 | 0 |" in data
    run("export", "--output", "pretrained/gvf-small", "--half")
    assert VideoTo4D.from_pretrained(exported).index.title == "A small generator, preset tiny"
    with pytest.raises(UserError, match=r"would be 0\.\d MB, more than the 0\.001 MB of --largest"):
        run("export", "--output", "pretrained/gvf-small", "--largest", "0.001")
    assert (exported / "DATA.md").is_file(), "the folder that was there stays"


def test_values_that_float16_cannot_hold_are_refused(workspace: Path) -> None:
    path = workspace / "models/generator/variation_dit/model.safetensors"
    tensors = load_tensors(path)
    name = min(tensors)
    save_tensors(path, {**tensors, name: torch.full_like(tensors[name], 1e5)})
    with pytest.raises(
        UserError, match=r"variation_dit/model\.safetensors: tensor .* beyond 65504, which float16 cannot"
    ):
        run("export", "--output", "out", "--half")
    assert not (workspace / "out").exists()


def test_an_export_replaces_a_generator_and_nothing_else(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("export", "--output", "out")
    run("export", "--output", "out")
    (workspace / "photos").mkdir()
    (workspace / "photos/cat.png").write_text("a cat")
    with pytest.raises(UserError, match="photos: holds something other than a generator"):
        run("export", "--output", "photos")
    assert (workspace / "photos/cat.png").is_file()
    (workspace / "out/.git").mkdir()
    with pytest.raises(
        UserError, match=r"out: holds something other than a generator \(\.git\), which would be deleted"
    ):
        run("export", "--output", "out")
    with pytest.raises(UserError, match=r"models/generator: is the output of `train-dit` itself"):
        run("export", "--output", "models/generator")
    (workspace / "within").mkdir()
    monkeypatch.chdir(workspace / "within")
    with pytest.raises(UserError, match="is the current folder or contains it"):
        small_generator().save_pretrained(".")


def test_generators_in_the_hubs_cache_are_listed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(workspace / "cache"))
    snapshot = workspace / "cache/huggingface/hub/models--someone--animals/snapshots/0123"
    small_generator().save_pretrained(snapshot)
    assert f"{snapshot}: A small generator" in run("list").splitlines()


def test_metrics_that_are_no_numbers_are_left_out_of_an_export(workspace: Path) -> None:
    write_json(workspace / "reports/metrics/evaluate.json", {"dit_psnr": 21.25, "dit_fvd": float("nan")})
    run("export", "--output", "out")
    assert read_index("out").metrics == {"dit_psnr": 21.25}


def test_metrics_of_another_generator_are_left_out_of_an_export(workspace: Path) -> None:
    generator = small_generator()
    next(generator.dit.parameters()).data.add_(1.0)
    generator.save_pretrained(workspace / "models/generator", CardFacts())
    result = CliRunner().invoke(command, ["export", "--output", "out"], catch_exceptions=False)
    assert (
        "reports/metrics/evaluate.json: left out, because it is not known to be measured on this generator"
        in result.output
    )
    assert read_index("out").metrics == {}
    (workspace / "reports/scores/measurement.json").unlink()
    run("export", "--output", "out")
    assert read_index("out").metrics == {}


def test_a_damaged_or_missing_generator_is_named(workspace: Path) -> None:
    (workspace / "models/generator/generator.json").write_text("{}")
    assert "models/generator: damaged. models/generator/generator.json: does not describe a generator" in run("list")
    shutil.rmtree(workspace / "models")
    with pytest.raises(UserError, match=r"models/generator: no such folder\. Run `dvc repro train-dit` first"):
        run("export")
