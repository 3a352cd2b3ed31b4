"""The same call loads the TRELLIS release, converted files and our own folder, with the same result bit for bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gvf.cli.weights import convert
from gvf.diffusion.flow_euler import FlowSettings
from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.models.image_to_3d.image_features import ImageFeatures
from gvf.pipelines.image_to_canonical import ImageToCanonical, sample_slat, sample_structure
from gvf.pipelines.image_to_canonical_index import SLAT_MEAN, SLAT_STD
from gvf.storage import published_files
from gvf.weights.published import save_published
from tests.weights.small_weights import small_network

SIZES: dict[str, dict[str, Any]] = {
    "ss-flow": {},
    "ss-decoder": {"latent_channels": 4},
    "slat-flow": {"latent_channels": 8},
    "slat-gs-decoder": {"latent_channels": 8, "resolution": 6, "window": 4, "rotation_rate": 0.2},
}
FILES = {
    "ss-flow": published_files.SS_FLOW,
    "ss-decoder": published_files.SS_DECODER,
    "slat-flow": published_files.SLAT_FLOW,
    "slat-gs-decoder": published_files.SLAT_GS_DECODER,
}
DECODER_SETTINGS = {
    "name": "SLatGaussianDecoder",
    "args": {
        "resolution": 6,
        "model_channels": 24,
        "num_heads": 2,
        "attn_mode": "swin",
        "window_size": 4,
        "representation_config": {
            "lr": {"_xyz": 1.0, "_features_dc": 1.0, "_opacity": 1.0, "_scaling": 1.0, "_rotation": 0.2},
            "voxel_size": 1.5,
            "num_gaussians": 3,
            "2d_filter_kernel_size": 0.1,
            "3d_filter_kernel_size": 0.0009,
            "scaling_bias": 0.004,
            "opacity_bias": 0.1,
            "scaling_activation": "softplus",
        },
    },
}
IMAGES = ImageFeatures(torch.randn(2, 5, 10, generator=torch.Generator().manual_seed(3)))


def pipeline_settings(steps: int) -> dict[str, Any]:
    """Return a `pipeline.json` as released; the two samplers differ."""
    parameters = {"steps": steps, "cfg_strength": 3.0, "cfg_interval": [0.5, 1.0], "rescale_t": 3.0}
    sampler = {"name": "FlowEulerGuidanceIntervalSampler", "args": {"sigma_min": 1e-5}}
    return {
        "name": "TrellisImageTo3DPipeline",
        "args": {
            "models": {"slat_flow_model": "ckpts/slat_flow_img_dit_L_64l8p2_fp16"},
            "sparse_structure_sampler": {**sampler, "params": parameters},
            "slat_sampler": {**sampler, "params": {**parameters, "cfg_strength": 2.0}},
            "slat_normalization": {"mean": list(SLAT_MEAN), "std": list(SLAT_STD)},
            "image_cond_model": "dinov2_vitl14_reg",
        },
    }


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in the layout of the release, with small networks."""
    folder = tmp_path_factory.mktemp("hub") / "TRELLIS-image-large"
    for kind, file in FILES.items():
        sizes = SIZES[kind] | ({"num_heads": 2} if kind == "slat-gs-decoder" else {})
        save_published(small_network(kind, **sizes), folder / file.path, kind)
    decoder = (folder / FILES["slat-gs-decoder"].path).with_suffix(".json")
    decoder.write_text(json.dumps(DECODER_SETTINGS))
    (folder / "pipeline.json").write_text(json.dumps(pipeline_settings(2)))
    return folder


@pytest.fixture(scope="module")
def expected(release: Path) -> list[Gaussians]:
    """Return what the release makes of IMAGES with seed 7."""
    return ImageToCanonical.from_pretrained(release)(IMAGES, seed=7)


@pytest.fixture
def changed(release: Path, tmp_path: Path) -> Path:
    """Return a copy of the release that a test may damage."""
    return shutil.copytree(release, tmp_path / "changed")


def equal(one: list[Gaussians], other: list[Gaussians]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.to_activated14(), b.to_activated14()) for a, b in zip(one, other)
    )


def test_all_layouts_give_the_same_gaussians(release: Path, expected: list[Gaussians], tmp_path: Path) -> None:
    published = ImageToCanonical.from_pretrained(release)
    assert all(len(gaussians.means) >= 3 for gaussians in expected)
    assert len(expected) == 2
    assert all(gaussians.to_activated14().isfinite().all() for gaussians in expected)
    assert not equal(published(IMAGES, seed=8), expected)
    assert not equal(published(ImageFeatures(-IMAGES.tokens), seed=7), expected)

    published.save_pretrained(tmp_path / "own")
    own = ImageToCanonical.from_pretrained(tmp_path / "own")
    assert own.index == published.index
    assert equal(own(IMAGES, seed=7), expected)

    told = {
        "num_heads": 2,
        **{name: SIZES["slat-gs-decoder"][name] for name in ("resolution", "window", "rotation_rate")},
    }
    for kind, file in FILES.items():
        convert(release / file.path, tmp_path / "converted" / kind, None, told if kind == "slat-gs-decoder" else {})
    converted = ImageToCanonical.from_pretrained(tmp_path / "converted")
    assert converted.index.structure.num_steps == 25  # the published value: converted files hold no settings
    settings = {"structure": own.index.structure.settings(), "latents": own.index.latents.settings()}
    assert equal(converted(IMAGES, seed=7, **settings), expected)


def test_a_call_joins_the_two_flows_and_the_decoder(release: Path, expected: list[Gaussians]) -> None:
    pipeline = ImageToCanonical.from_pretrained(release)
    generator = torch.Generator().manual_seed(7)
    structure, latents = (FlowSettings(num_steps=2, guidance=guidance) for guidance in (3.0, 2.0))
    noise = torch.randn(2, 4, 3, 3, 3, generator=generator)
    seen = IMAGES.at_cells(pipeline.ss_flow.config)
    voxels = sample_structure(pipeline.ss_flow, pipeline.ss_decoder, seen, noise, structure)
    noise = torch.randn(len(voxels.coords), 8, generator=generator)
    values = sample_slat(pipeline.slat_flow, seen, voxels, noise, latents)
    with torch.no_grad():
        assert equal(pipeline.gaussian_decoder(values, voxels), expected)


def test_pulled_files_are_found_by_the_name_of_the_release(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GVF_WEIGHTS", str(release.parent))
    for name in (published_files.SS_FLOW.repository, release.parent):
        pipeline = ImageToCanonical.from_pretrained(name)
        assert pipeline.index.structure.num_steps == 2
        assert pipeline.gaussian_decoder.config.rotation_rate == 0.2


def test_a_snapshot_in_the_hubs_cache_is_loaded_by_name(release: Path, tmp_path: Path) -> None:
    repository, commit = tmp_path / "models--microsoft--TRELLIS-image-large", "0" * 40
    shutil.copytree(release, repository / "snapshots" / commit)
    where: dict[str, Any] = {"revision": commit, "cache_dir": tmp_path, "local_files_only": True}
    pipeline = ImageToCanonical.from_pretrained(published_files.SS_FLOW.repository, **where)
    assert pipeline.index.latents.guidance == 2.0
    with pytest.raises(UserError, match=r"nobody/nothing: not found in the hub's cache"):
        ImageToCanonical.from_pretrained("nobody/nothing", **where)
    with pytest.raises(UserError, match="no such folder, and not a name on the model hub"):
        ImageToCanonical.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", list(FILES))
def test_a_missing_network_is_named(changed: Path, kind: str) -> None:
    (changed / FILES[kind].path).unlink()
    with pytest.raises(UserError, match=rf"lacks the network .*{FILES[kind].name}.*`gvf weights pull {kind}` fetches"):
        ImageToCanonical.from_pretrained(changed)


def test_all_missing_networks_are_named(changed: Path) -> None:
    for kind in ("ss-decoder", "slat-flow"):
        (changed / FILES[kind].path).unlink()
    with pytest.raises(
        UserError, match=r"lacks the networks ss_decoder .*slat_flow .*pull ss-decoder slat-flow` fetches"
    ):
        ImageToCanonical.from_pretrained(changed)


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def _without_normalization(content: Any) -> Any:
    del content["args"]["slat_normalization"]
    return content


def _with_resolution(content: Any) -> Any:
    content["args"]["resolution"] = 64
    return content


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("pipeline.json", lambda content: [content], r"pipeline\.json: the file: "),
        ("pipeline.json", lambda content: {**content, "name": "Other"}, r"pipeline\.json: name: "),
        ("pipeline.json", lambda content: pipeline_settings(10**9), r"pipeline\.json: args\..*steps: .*less than"),
        ("pipeline.json", _without_normalization, r"pipeline\.json: args\.slat_normalization: field required"),
        ("decoder", lambda content: {**content, "name": "SLatMeshDecoder"}, r"\.json: name: "),
        ("decoder", _with_resolution, "gaussian_decoder: resolution is 64, but the other networks have 6"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    changed: Path, name: str, change: Callable[[Any], Any], message: str
) -> None:
    decoder = (changed / FILES["slat-gs-decoder"].path).with_suffix(".json")
    edit(decoder if name == "decoder" else changed / name, change)
    with pytest.raises(UserError, match=message):
        ImageToCanonical.from_pretrained(changed)


def test_own_folders_that_were_tampered_with_are_refused(release: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    pipeline = ImageToCanonical.from_pretrained(release)
    pipeline.save_pretrained(own)
    with pytest.raises(UserError, match="not an empty folder"):
        pipeline.save_pretrained(own)
    config = own / "ss_decoder" / "config.json"
    kept = config.read_bytes()
    config.write_text('{"kind": "ss-decoder", "sizes": "many"}')
    with pytest.raises(UserError, match=r"config\.json: does not describe a network"):
        ImageToCanonical.from_pretrained(own)
    config.write_bytes(kept)
    edit(own / "image_to_canonical.json", lambda content: {**content, "version": 2})
    with pytest.raises(UserError, match=r"image_to_canonical\.json: version: "):
        ImageToCanonical.from_pretrained(own)


@pytest.mark.parametrize("tokens", [torch.zeros(5, 10), torch.zeros(1, 5, 9), torch.full((1, 5, 10), torch.nan)])
def test_tokens_that_do_not_fit_are_refused(release: Path, tokens: torch.Tensor) -> None:
    with pytest.raises(UserError, match=r"^image tokens: "):
        ImageToCanonical.from_pretrained(release)(ImageFeatures(tokens))
