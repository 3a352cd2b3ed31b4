"""`gvf models check`: whole folders of every layout pass, and each kind of damage is named in the row of its part."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from gvf.cli.models import command
from gvf.errors import UserError
from gvf.pipelines.generator_folder import IMAGE_FOLDER, decisive_files
from gvf.pipelines.image_networks import find_image_networks
from gvf.pipelines.image_to_canonical import ImageToCanonical
from gvf.pipelines.image_to_canonical_folder import REPOSITORY
from gvf.pipelines.model_check import check_models
from gvf.pipelines.part_checks import ModelCheck
from gvf.pipelines.video_to_4d import VideoTo4D
from gvf.storage import published_files
from gvf.storage.checksums import write_checksums
from gvf.weights.published import save_published
from tests.models.test_image_encoder import tiny_dinov2
from tests.pipelines.small_generator import small_generator
from tests.pipelines.test_generator import PUBLISHED, write_published
from tests.pipelines.test_image_to_canonical_folders import DECODER_SETTINGS, SIZES, pipeline_settings
from tests.pipelines.test_own_image_networks import write_own
from tests.weights.small_weights import small_network

IMAGE = {
    "ss-flow": "structure_flow.safetensors",
    "ss-decoder": "structure_decoder.safetensors",
    "slat-flow": "latent_flow.safetensors",
}


@pytest.fixture(autouse=True)
def _nothing_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GVF_WEIGHTS", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "generator"
    small_generator().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both releases and DINOv2 in one folder, as `gvf weights pull` lays them out, with small networks.

    Files whose published digest is known have other names, by which they are not taken for the published ones.
    """
    folder = tmp_path_factory.mktemp("release") / "weights"
    write_published(folder / "GaussianVariationFieldDiffusion")
    trellis = folder / "TRELLIS-image-large"
    for kind, name in IMAGE.items():
        save_published(small_network(kind, **SIZES[kind]), trellis / "ckpts" / name, kind)
    decoder = trellis / published_files.SLAT_GS_DECODER.path
    save_published(
        small_network("slat-gs-decoder", num_heads=2, **SIZES["slat-gs-decoder"]), decoder, "slat-gs-decoder"
    )
    decoder.with_suffix(".json").write_text(json.dumps(DECODER_SETTINGS))
    (trellis / "pipeline.json").write_text(json.dumps(pipeline_settings(2)))
    tiny_dinov2(folder / "dinov2-with-registers-large")
    return folder


def states(check: ModelCheck) -> dict[str, str]:
    return {part.name: part.state for part in check.parts}


def detail(check: ModelCheck, name: str) -> str:
    return next(part.detail for part in check.parts if part.name == name)


def test_a_generator_of_our_own(own: Path) -> None:
    check = check_models(own)
    assert check.ok
    assert check.contents == ["generator of gvf"]
    assert list(states(check)) == [
        "index",
        "slat_encoder",
        "gaussian_decoder",
        "variation_vae",
        "variation_dit",
        "together",
    ]
    dit = small_generator().dit
    assert detail(check, "variation_dit") == f"{sum(p.numel() for p in dit.state_dict().values()):,} values, float32"


def test_both_releases_in_one_folder(release: Path) -> None:
    check = check_models(release)
    assert check.ok, check.parts
    assert check.contents == ["the paper's release", "networks from an image"]
    assert {"static-vae", "variation-vae", "dit", "static_mean", "deformation_std", "settings", "dinov2"} <= states(
        check
    ).keys()
    assert "recognised by its content" in detail(check, "slat-flow")
    assert "other sizes than published" in detail(check, "dit")
    assert [part.file for part in check.parts if part.name == "ss-flow"] == [
        "TRELLIS-image-large/ckpts/structure_flow.safetensors"
    ]
    assert ImageToCanonical.from_pretrained(release).index.structure.num_steps == 2, "loading finds the same files"
    assert VideoTo4D.from_pretrained(release).folder == release


def test_a_file_of_another_digest_is_not_the_published_one(release: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(release, tmp_path / "weights")
    file = folder / "TRELLIS-image-large" / published_files.SS_FLOW.path
    (file.parent / IMAGE["ss-flow"]).rename(file)
    check = check_models(folder)
    assert [name for name, state in states(check).items() if state != "ok"] == ["ss-flow"]
    assert "where 96dc6bfd4136fd95 was published" in detail(check, "ss-flow")


def test_an_exported_generator_is_compared_with_its_digests(own: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(own, tmp_path / "generator")
    write_checksums(folder, decisive_files(folder))
    known = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=False)
    assert known.returncode == 0, "the format of sha256sum"
    assert "SHA-256 of 9 files as exported" in detail(check_models(folder), "digests")
    weights = folder / "variation_dit" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # one bit of the last value
    weights.write_bytes(content)
    check = check_models(folder)
    assert [name for name, state in states(check).items() if state != "ok"] == ["digests"]
    assert "variation_dit/model.safetensors is not the file that was exported" in detail(check, "digests")
    for text in ("0  ../../etc/passwd\n", f"{'0' * 64}  /etc/passwd\n", f"{'0' * 64}  ../other\n", ""):
        (folder / "SHA256SUMS").write_text(text)
        assert "holds no list of SHA-256" in detail(check_models(folder), "digests")
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  generator.json\n")
    assert "generator.json is not the file" in detail(check_models(folder), "digests")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def absurd_header(path: Path) -> None:
    with path.open("wb") as file:
        file.write((1 << 26).to_bytes(8, "little") + b"{")
        file.truncate(1 << 27)


def code(path: Path) -> None:
    path.write_bytes(pickle.dumps(print))


def link_outside(path: Path) -> None:
    path.rename(path.parents[2] / "elsewhere")
    path.symlink_to(path.parents[2] / "elsewhere")


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (cut_short, "cut short"),
    (absurd_header, "header takes 67,108,864 bytes"),
    (code, "pickle with code"),
    (link_outside, "link out of the folder"),
    (Path.unlink, "no such file"),
    (lambda path: path.write_bytes(b"<html>Sign in</html>"), "a web page"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE, ids=[message for _, message in DAMAGE])
def test_damage_to_a_network_is_named(own: Path, tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    folder = shutil.copytree(own, tmp_path / "generator")
    damage(folder / "variation_vae" / "model.safetensors")
    check = check_models(folder)
    assert {name for name, state in states(check).items() if state == "damaged"} == {"variation_vae"}
    assert message in detail(check, "variation_vae")


def test_other_kinds_of_files(own: Path, release: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(own, tmp_path / "generator")
    shutil.copytree(folder / "slat_encoder", folder / "gaussian_decoder", dirs_exist_ok=True)
    shutil.rmtree(folder / "variation_dit")
    check = check_models(folder)
    assert states(check)["gaussian_decoder"] == "damaged"
    assert "kind 'slat-encoder'" in detail(check, "gaussian_decoder")
    assert states(check)["variation_dit"] == "missing"
    paper = shutil.copytree(release / "GaussianVariationFieldDiffusion", tmp_path / "paper")
    torch.save(torch.zeros(14), paper / "static_std.pt")
    (paper / PUBLISHED["variation-vae"].path).write_bytes((paper / PUBLISHED["dit"].path).read_bytes())
    check = check_models(paper)
    assert "Its keys are those of kind dit" in detail(check, "variation-vae")
    assert states(check)["dinov2"] == "missing"
    with pytest.raises(UserError, match="holds no model that gvf knows"):
        check_models(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        check_models(tmp_path / "nowhere")


def test_networks_that_do_not_belong_together(own: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(own, tmp_path / "generator")
    index = json.loads((folder / "generator.json").read_text())
    index["voxels"]["feature_channels"] = 7
    (folder / "generator.json").write_text(json.dumps(index))
    check = check_models(folder)
    assert states(check)["together"] == "damaged"
    assert "feature_channels is 7" in detail(check, "together")


def test_a_generators_own_image_networks_are_checked_too(own: Path, release: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(own, tmp_path / "generator")
    ImageToCanonical.from_pretrained(release).save_pretrained(folder / IMAGE_FOLDER)
    assert check_models(folder).ok
    (folder / IMAGE_FOLDER / "ss_decoder" / "model.safetensors").unlink()
    check = check_models(folder)
    assert {name for name, state in states(check).items() if state != "ok"} == {"ss-decoder"}


def test_networks_that_the_training_stages_wrote_need_no_decoder(tmp_path: Path) -> None:
    folder = tmp_path / "generator"
    write_own(folder)
    check = check_models(folder)
    assert check.ok, check.parts
    assert "slat-gs-decoder" not in states(check), "it is the generator's own"
    index = json.loads((folder / IMAGE_FOLDER / "image_to_canonical.json").read_text())
    index["slat"] = {"mean": [0.0] * 7, "std": [1.0] * 7}
    (folder / IMAGE_FOLDER / "image_to_canonical.json").write_text(json.dumps(index))
    assert "mean of the structured latents: channels is 7" in [part.detail for part in check_models(folder).parts][-1]


def test_image_networks_are_looked_for_in_the_generators_folder(own: Path, release: Path, tmp_path: Path) -> None:
    assert find_image_networks(None) == find_image_networks(own) == REPOSITORY, "D_GS alone is none of them"
    assert find_image_networks(release) == release
    folder = shutil.copytree(own, tmp_path / "generator")
    (folder / IMAGE_FOLDER).mkdir()
    assert find_image_networks(folder) == REPOSITORY
    (folder / IMAGE_FOLDER / "image_to_canonical.json").write_text("{}")
    assert find_image_networks(folder) == folder / IMAGE_FOLDER


def test_several_files_of_a_kind_are_not_chosen_from(release: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(release, tmp_path / "weights")
    flow = folder / "TRELLIS-image-large" / "ckpts" / IMAGE["ss-flow"]
    shutil.copyfile(flow, flow.with_name("another.safetensors"))
    check = check_models(folder)
    assert "several weights of kind ss-flow" in detail(check, "ss-flow")


def test_the_command_prints_rows_or_json(own: Path, tmp_path: Path) -> None:
    run = CliRunner()
    shown = run.invoke(command, ["check", str(own)], catch_exceptions=False, standalone_mode=False)
    assert "ok       variation_dit (variation_dit): " in shown.output
    folder = shutil.copytree(own, tmp_path / "generator")
    (folder / "variation_dit" / "model.safetensors").unlink()
    broken = run.invoke(command, ["check", "--json", str(folder)], standalone_mode=False)
    assert isinstance(broken.exception, UserError)
    assert "1 of 5 parts cannot be used: variation_dit" in str(broken.exception)
    found = json.loads(broken.stdout)
    assert (found["ok"], [part["state"] for part in found["parts"]]) == (False, ["ok"] * 4 + ["damaged"])
