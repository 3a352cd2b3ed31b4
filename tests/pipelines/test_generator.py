"""Generators that leave the workspace: saved, copied, loaded elsewhere, published ones, and folders to be refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import gvf
from gvf.cli.weights import convert
from gvf.config.featurize import FeaturizeConfig
from gvf.errors import UserError
from gvf.models.network_folder import load_network, save_network
from gvf.models.variation.dit import VideoCondition
from gvf.models.variation.vae import VariationVAE
from gvf.pipelines import hub
from gvf.pipelines.encoder_weights import weights_digest
from gvf.pipelines.generator_index import Training, build_index, read_index
from gvf.pipelines.hub import locate
from gvf.pipelines.model_card import CardFacts
from gvf.pipelines.video_to_4d import VideoTo4D
from gvf.storage import published_files
from gvf.storage.files import load_tensors, save_tensors
from gvf.weights.published import save_published
from tests.models.test_image_encoder import tiny_dinov2
from tests.pipelines.small_generator import FAST, FRAMES, VIEWS, canonical_gaussians, small_generator, video_of
from tests.weights.small_weights import SIZES, small_network

ROOT = Path(__file__).resolve().parents[2]


def field_of(pipeline: VideoTo4D, num_frames: int = FRAMES) -> torch.Tensor:
    noise = pipeline.noise(num_frames, torch.Generator().manual_seed(5))
    return pipeline.generate([video_of(num_frames, 1)], [canonical_gaussians(9, 2)], [noise]).fields[0]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "generator"
    pipeline = small_generator()
    pipeline.index = pipeline.index.model_copy(update={"metrics": {"dit_psnr": 21.5}})
    pipeline.save_pretrained(folder, CardFacts(data="Twelve clips."))
    return folder


def test_a_saved_generator_gives_the_same_field_bit_for_bit(saved: Path, tmp_path: Path) -> None:
    before = field_of(small_generator())
    assert before.abs().max() > 0.01
    loaded = VideoTo4D.from_pretrained(saved)
    assert torch.equal(field_of(loaded), before)
    assert loaded.index.model_copy(update={"metrics": {}}) == small_generator().index
    loaded.save_pretrained(tmp_path / "again")
    for file in ("generator.json", *(f"{name}/model.safetensors" for name in ("variation_dit", "slat_encoder"))):
        assert (tmp_path / "again" / file).read_bytes() == (saved / file).read_bytes()


def test_the_folder_is_all_that_another_machine_needs(saved: Path, tmp_path: Path) -> None:
    """An unpacked package on the path of a new process in an empty folder; nothing of this checkout is in reach."""
    package, copy, empty = tmp_path / "site", tmp_path / "copied", tmp_path / "empty"
    shutil.copytree(ROOT / "src/gvf", package / "gvf", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(saved, copy)
    empty.mkdir()
    values = {"video": vars(video_of(FRAMES, 1)), "canonical": vars(canonical_gaussians(9, 2)) | {"activation": None}}
    torch.save(values["video"] | {k: v for k, v in values["canonical"].items() if v is not None}, empty / "in")
    code = (
        "import gvf, torch\n"
        "from gvf.gaussians.gaussians import Gaussians\n"
        "from gvf.models.variation.dit import VideoCondition\n"
        "from gvf.pipelines.video_to_4d import VideoTo4D\n"
        f"assert gvf.__file__.startswith({str(package)!r})\n"
        "given = torch.load('in', weights_only=True)\n"
        f"pipeline = VideoTo4D.from_pretrained({str(copy)!r}, local_files_only=True)\n"
        "video = VideoCondition(given.pop('tokens'), given.pop('aligned'))\n"
        "noise = pipeline.noise(len(video.tokens), torch.Generator().manual_seed(5))\n"
        "torch.save(pipeline.generate([video], [Gaussians(**given)], [noise]).fields[0], 'out')\n"
    )
    environment = {"PYTHONPATH": str(package), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HOME": str(empty)}
    subprocess.run([sys.executable, "-c", code], cwd=empty, env=environment, check=True, timeout=120)
    assert torch.equal(torch.load(empty / "out", weights_only=True), field_of(small_generator()))


@pytest.mark.parametrize("place", ["gvf/pretrained", "../pretrained"])
def test_the_generator_that_comes_with_gvf_is_found_in_a_wheel_and_in_a_checkout(
    place: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gvf, "__file__", str(tmp_path / "src/gvf/__init__.py"))
    (tmp_path / "src/gvf").mkdir(parents=True)
    assert hub.shipped_generator() is None
    shutil.copytree(saved, tmp_path / "src" / place / "gvf-small")
    found = hub.shipped_generator()
    assert found is not None
    assert found.samefile(tmp_path / "src" / place / "gvf-small")


def test_weights_in_half_precision_are_computed_in_float32(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "half")
    for file in (tmp_path / "half").glob("*/model.safetensors"):
        save_tensors(file, {name: tensor.half() for name, tensor in load_tensors(file).items()})
    loaded, exact = VideoTo4D.from_pretrained(tmp_path / "half"), small_generator()
    assert {p.dtype for network in (loaded.vae, loaded.dit) for p in network.parameters()} == {torch.float32}
    difference, size = (field_of(loaded) - field_of(exact)).abs().max(), field_of(exact).abs().max()
    assert 0.0 < difference < 0.02 * size, "float16 has 11 significant bits; rounding adds up over layers and steps"


def test_the_card_says_what_is_known_and_what_is_not(saved: Path) -> None:
    text = (saved / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "gvf"
    assert "Twelve clips." in body
    assert "| dit_psnr | 21.5 |" in body
    assert "No licence is stated for these weights" in body
    assert "commit not recorded" in body


def change(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        for path, value in changes.items():
            *parents, last = path.split("__")
            target = content
            for name in parents:
                target = target[name]
            if value is ...:
                del target[last]
            else:
                target[last] = value

    return apply


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change(format="other"), "does not describe a generator"),
        (change(version=2), "has version 2, this gvf reads 1. Update gvf."),
        (change(extra=1), "extra extra inputs are not permitted|extra inputs"),
        (change(voxels=...), "voxels field required"),
        (change(latents__std=[0.0] * 5), r"latents\.std\.0 should be greater than 0"),
        (change(latents__mean=[1.0]), "latents has 1 means but 5 deviations"),
        (change(latents__mean=["x"] * 5), r"latents\.mean\.0 should be a valid number"),
        (change(static__mean=[0.0] * 3, static__std=[1.0] * 3), r"static, channels is 3, but .* have 14"),
        (change(diffusion__num_steps=10**9), r"diffusion\.num_steps"),
        (change(diffusion__prediction="noise"), r"diffusion\.prediction should be 'velocity'"),
        (change(image_encoder__weights="../../etc/passwd"), r"image_encoder\.weights"),
        (change(image_encoder__weights="/etc"), r"image_encoder\.weights"),
        (change(image_encoder__name="os.system"), r"image_encoder\.name"),
        (change(image_encoder__preprocessing__central_share=1.0), "other preprocessing than this version"),
        (change(image_encoder__preprocessing__size=40), "image size of 40, which must be a multiple of 16"),
        (change(image_encoder__preprocessing__size=None), r"preprocessing\.size"),
        (change(image_encoder__weights_sha256="12"), r"image_encoder\.weights_sha256"),
        (change(voxels__resolution=16), r"voxels\.resolution is 16, but .* have 8"),
        (change(voxels__feature_channels=7), r"voxels\.feature_channels is 7, but .* have 6"),
        (change(rendering__low_pass=0.3), "rendering differs from the rendering convention"),
        (change(commit="rm -rf"), "commit string should match pattern"),
        (change(metrics={"psnr": "high"}), r"metrics\.psnr should be a valid number"),
        (change(channels__static=["means"]), "channels differ from the channel orders"),
    ],
)
def test_indexes_that_cannot_be_right_are_refused(
    edit: Callable[[dict[str, Any]], None], message: str, saved: Path, tmp_path: Path
) -> None:
    shutil.copytree(saved, tmp_path / "copy")
    path = tmp_path / "copy/generator.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        VideoTo4D.from_pretrained(tmp_path / "copy")


def test_statistics_survive_json_without_loss(saved: Path) -> None:
    expected, found = small_generator().index.statistics, read_index(saved).statistics
    assert all(torch.equal(value, vars(expected)[name]) for name, value in vars(found).items())


def test_networks_that_do_not_belong_together_are_refused(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "copy")
    save_network(small_network("dit"), tmp_path / "copy/variation_dit")
    with pytest.raises(UserError, match=r"variation_dit: latent_channels is 4, but the networks beside it have 5"):
        VideoTo4D.from_pretrained(tmp_path / "copy")
    save_network(small_network("slat-encoder"), tmp_path / "copy/slat_encoder")
    with pytest.raises(UserError, match=r"slat_encoder makes latents of 4 channels, gaussian_decoder takes 3"):
        VideoTo4D.from_pretrained(tmp_path / "copy")


def test_a_name_is_a_folder_or_a_name_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such folder, and not a name on the model hub"):
        locate("../missing")
    with pytest.raises(UserError, match=r"models/generator: no such folder, .* `dvc repro train-dit` writes it"):
        locate(Path("models/generator"))
    monkeypatch.setattr(hub, "shipped_generator", lambda: tmp_path)
    assert locate("gvf-small") == tmp_path
    monkeypatch.setattr(hub, "shipped_generator", lambda: None)
    with pytest.raises(UserError, match="the generator that comes with gvf is not here"):
        locate("gvf-small")
    with pytest.raises(UserError, match="gvf-small: no such folder"):
        locate(Path("gvf-small"))
    with pytest.raises(UserError, match=r"nobody/nothing: not found in the hub's cache"):
        locate("nobody/nothing", local_files_only=True, cache_dir=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"generator\.json: no such file"):
        VideoTo4D.from_pretrained(tmp_path / "empty")


def test_a_snapshot_in_the_hubs_cache_is_loaded_by_name(saved: Path, tmp_path: Path) -> None:
    """The cache keeps links to blobs; a revision is the name of a snapshot."""
    repository = tmp_path / "models--someone--animals"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(commit)
    for number, file in enumerate(path for path in saved.rglob("*") if path.is_file()):
        blob, link = repository / f"blobs/{number}", repository / "snapshots" / commit / file.relative_to(saved)
        blob.parent.mkdir(exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, blob)
        link.symlink_to(blob)
    for revision in (None, commit):
        pipeline = VideoTo4D.from_pretrained(
            "someone/animals", revision=revision, cache_dir=tmp_path, local_files_only=True
        )
        assert torch.equal(field_of(pipeline), field_of(small_generator()))


PUBLISHED = {
    "static-vae": published_files.STATIC_VAE,
    "variation-vae": published_files.VARIATION_VAE,
    "dit": published_files.DIT,
}


def test_image_encoder_weights_from_a_folder_are_known_by_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GVF_WEIGHTS", str(tmp_path / "pulled"))
    ours = tmp_path / "ours"
    other = tmp_path / "pulled" / published_files.DINOV2.repository.split("/")[1]
    for folder in (ours, other):
        folder.mkdir(parents=True)
        tiny_dinov2(folder)
    pipeline = small_generator()
    changed = next(torch.nn.Linear(2, 2).parameters())
    save_tensors(other / "model.safetensors", {"other": changed.detach()})
    featurize = FeaturizeConfig("dinov2", str(ours), None, 8, "visible", 4)
    index = build_index(
        "t", Training(frames=3), pipeline.index.statistics, 1000, featurize, 6, VIEWS, weights_digest(featurize)
    )
    assert index.image_encoder.weights is None
    assert index.image_encoder.weights_sha256 == hashlib.sha256((ours / "model.safetensors").read_bytes()).hexdigest()
    assert index.image_encoder.preprocessing.size == 518, "the encoder's own"
    with pytest.raises(UserError, match=r"pulled/.*model\.safetensors: has SHA-256 .*encoder_weights=FOLDER"):
        _ = VideoTo4D(index, pipeline.vae, pipeline.dit).encoder
    with pytest.raises(UserError, match="makes tokens of 32 channels"):  # the right weights are loaded and looked at
        _ = VideoTo4D(index, pipeline.vae, pipeline.dit, encoder_weights=ours).encoder
    with pytest.raises(UserError, match="encoder_weights: efficientnet_lite0"):
        VideoTo4D(pipeline.index, pipeline.vae, pipeline.dit, encoder_weights=ours)
    (ours / "model.safetensors").unlink()
    for missing in (str(ours), "./nowhere"):
        with pytest.raises(UserError, match=rf"featurize\.weights: {missing} contains no model\.safetensors"):
            weights_digest(replace(featurize, weights=missing))


def write_published(folder: Path) -> None:
    """Write files under the names and in the format of the published ones, with small networks."""
    torch.manual_seed(0)
    for kind, file in PUBLISHED.items():
        sizes = {"latent_channels": 5, "image_channels": 1024} if kind == "dit" else {}
        save_published(small_network(kind, **sizes), folder / file.path, kind)
    for file, count in zip(published_files.STATISTICS, (14, 14, 5, 5)):
        torch.save(torch.rand(1, count) + 0.5, folder / file.path)


def test_published_files_load_through_the_same_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pulled = tmp_path / published_files.DIT.repository.split("/")[1]
    write_published(pulled)
    pipeline = VideoTo4D.from_pretrained(pulled)
    assert isinstance(pipeline, VideoTo4D)
    assert pipeline.index.image_encoder.name == "dinov2"
    assert pipeline.index.voxels.feature_channels == SIZES["static-vae"]["feature_channels"]
    state = load_tensors_of(pulled / PUBLISHED["dit"].path)
    assert all(torch.equal(value, state[name]) for name, value in pipeline.dit.state_dict().items())
    statistic = torch.load(pulled / "deformation_std.pt", weights_only=True).flatten()
    assert torch.equal(pipeline.statistics.latent_std, statistic)
    noise = pipeline.noise(2, torch.Generator().manual_seed(0))
    inputs = [VideoCondition(torch.randn(2, 3, 1024))], [canonical_gaussians(5, 0)], [noise], FAST
    field = pipeline.generate(*inputs).fields[0]
    # By the name of the repository, from what `gvf weights pull` fetched; and from a copy in our own format.
    monkeypatch.setenv("GVF_WEIGHTS", str(tmp_path))
    assert torch.equal(VideoTo4D.from_pretrained(published_files.DIT.repository).generate(*inputs).fields[0], field)
    pipeline.save_pretrained(tmp_path / "ours")
    assert torch.equal(VideoTo4D.from_pretrained(tmp_path / "ours").generate(*inputs).fields[0], field)
    assert "No licence is stated" in (tmp_path / "ours/README.md").read_text()
    assert load_network(VariationVAE, tmp_path / "ours/variation_vae").config.width == SIZES["variation-vae"]["width"]


def test_converted_folders_of_published_files_are_a_generator_too(tmp_path: Path) -> None:
    write_published(tmp_path / "files")
    for kind, file in PUBLISHED.items():
        overrides = {} if kind == "dit" else {"num_heads": 2}
        convert(tmp_path / "files" / file.path, tmp_path / "converted" / kind, kind, overrides)
    with pytest.raises(UserError, match="gvf weights pull statistics"):
        VideoTo4D.from_pretrained(tmp_path / "converted")
    for file in published_files.STATISTICS:
        shutil.copyfile(tmp_path / "files" / file.path, tmp_path / "converted" / file.path)
    pipeline = VideoTo4D.from_pretrained(tmp_path / "converted")
    assert pipeline.vae.variation.config.num_heads == 2
    shutil.rmtree(tmp_path / "converted/static-vae")
    with pytest.raises(UserError, match=r"Missing: ema_static_vae_0\.9999_200000\.pt .*gvf weights pull static-vae`"):
        VideoTo4D.from_pretrained(tmp_path / "converted")


def load_tensors_of(path: Path) -> dict[str, torch.Tensor]:
    return load_tensors(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
