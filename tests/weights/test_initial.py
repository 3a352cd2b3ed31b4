"""Initial weights of the static VAE: by name or path, of either network or both, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gvf.config.load import parse
from gvf.config.static_vae import StaticVaeConfig
from gvf.config.train_vae_static import TrainVaeStaticConfig
from gvf.errors import ConfigError, UserError
from gvf.models.canonical.static_vae import StaticVAE
from gvf.weights.catalog import published_sizes
from gvf.weights.initial import find_initial, load_initial
from gvf.weights.published import save_published
from tests.weights.small_weights import SIZES, small_network

SIZES_OF_MODEL = StaticVaeConfig(**{**published_sizes("static-vae"), **SIZES["static-vae"]})


def model(**changes: int) -> StaticVAE:
    torch.manual_seed(7)
    return StaticVAE(replace(SIZES_OF_MODEL, **changes))


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name].to(one[name].dtype)) for name in one)


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        ("encoder", "static-vae"),
        ("decoder", "static-vae"),
        ("encoder", "slat-encoder"),
        ("decoder", "slat-gs-decoder"),
    ],
)
def test_published_weights_become_one_network_in_float32(network: str, kind: str, tmp_path: Path) -> None:
    published = small_network(kind)
    path = tmp_path / "weights.safetensors"
    save_published(published, path, kind)
    found = model()
    before = {name: value.clone() for name, value in found.state_dict().items()}
    load_initial(found, network, path)
    source = published.get_submodule(network) if kind == "static-vae" else published
    assert equal(found.get_submodule(network).state_dict(), source.state_dict())
    assert all(p.dtype == torch.float32 for p in found.parameters())
    other = "decoder" if network == "encoder" else "encoder"
    assert all(torch.equal(v, before[f"{other}.{n}"]) for n, v in found.get_submodule(other).state_dict().items())


@pytest.mark.parametrize("place", [".", "gaussian_decoder", "gaussian_decoder/model.safetensors"])
def test_a_model_of_our_own_stage_is_a_source(place: str, tmp_path: Path) -> None:
    trained = model()
    torch.nn.init.normal_(trained.decoder.out_layer.weight)
    trained.save(tmp_path)
    found = model()
    path = find_initial("decoder", str(tmp_path / place))
    assert path == tmp_path / "gaussian_decoder/model.safetensors"
    load_initial(found, "decoder", path)
    assert equal(found.decoder.state_dict(), trained.decoder.state_dict())


def test_weights_of_another_number_of_gaussians_are_refused(tmp_path: Path) -> None:
    save_published(small_network("slat-gs-decoder"), tmp_path / "decoder.safetensors", "slat-gs-decoder")
    with pytest.raises(UserError, match=r"decodes 3 Gaussians per voxel, .* is 2\. .*static-vae-initial"):
        load_initial(model(gaussians_per_voxel=2), "decoder", tmp_path / "decoder.safetensors")
    with pytest.raises(UserError, match="holds no encoder of the static VAE; its kind is slat-gs-decoder"):
        load_initial(model(), "encoder", tmp_path / "decoder.safetensors")


def test_weights_of_other_sizes_are_refused(tmp_path: Path) -> None:
    save_published(small_network("slat-encoder"), tmp_path / "encoder.safetensors", "slat-encoder")
    with pytest.raises(UserError, match=r"this encoder is not of the sizes .* \(input_layer.weight: \[24, 10\]\)"):
        load_initial(model(feature_channels=11), "encoder", tmp_path / "encoder.safetensors")


def test_absent_weights_are_named_with_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GVF_WEIGHTS", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=r"initial_weights.encoder: .*'slat-encoder' are not here. Run `gvf weights pull"
    ):
        find_initial("encoder", "slat-encoder")
    with pytest.raises(UserError, match="neither a file nor a name"):
        find_initial("decoder", "slat-decoder")
    path = tmp_path / "GaussianVariationFieldDiffusion" / "pretrained_ckpts" / "trellis_init_vae.pt"
    path.parent.mkdir(parents=True)
    save_published(small_network("static-vae"), path, "static-vae")
    assert find_initial("decoder", "static-vae-initial") == path


def test_an_encoder_of_random_weights_cannot_be_frozen(values) -> None:  # type: ignore[no-untyped-def]
    section = {**values["train_vae_static"], "train_encoder": False}
    with pytest.raises(ConfigError, match="would stay random"):
        parse(TrainVaeStaticConfig, section, "train_vae_static")


@pytest.fixture
def values() -> dict:
    import yaml

    return yaml.safe_load((Path(__file__).resolve().parents[2] / "params.yaml").read_text())
