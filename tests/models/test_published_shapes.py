"""The published sizes give the published state dicts, key for key, and the parameter counts of Table 4."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gvf.weights.catalog import KINDS
from gvf.weights.published import build_published, published_state

# kind -> manifest, and millions of parameters in Table 4 where it is there (E_GS, D_GS, VAE Transformer, Diffusion)
MANIFESTS = {
    "variation-vae": ("gvf_variation_vae", 125.21),
    "dit": ("gvf_dit", 105.51),
    "static-vae": ("gvf_static_vae", 85.8 + 85.1),
    "slat-encoder": ("trellis_slat_encoder", 85.8),
    "slat-gs-decoder": ("trellis_slat_gs_decoder", 85.1),
    "ss-flow": ("trellis_ss_flow", None),
    "ss-decoder": ("trellis_ss_decoder", None),
    "slat-flow": ("trellis_slat_flow", None),
}


def test_every_kind_has_a_manifest(shared: Path) -> None:
    assert set(MANIFESTS) == set(KINDS)
    assert {name for name, _ in MANIFESTS.values()} == {path.stem for path in (shared / "upstream").glob("*.json")}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_keys_shapes_precisions_and_counts(kind: str, shared: Path) -> None:
    name, millions = MANIFESTS[kind]
    published = json.loads((shared / "upstream" / f"{name}.json").read_text())
    with torch.device("meta"):
        module = build_published(kind)
    state = published_state(module, kind)
    assert {key: list(value.shape) for key, value in state.items()} == {
        key: entry["shape"] for key, entry in published["state_dict"].items()
    }
    assert {key: str(value.dtype).removeprefix("torch.") for key, value in state.items()} == {
        key: entry["dtype"] for key, entry in published["state_dict"].items()
    }
    parameters = dict(module.named_parameters())
    assert set(published["buffers"]) == state.keys() - {
        key for key, (ours, _) in zip(state, module.state_dict().items()) if ours in parameters
    }
    count = sum(parameter.numel() for parameter in parameters.values())
    assert count == published["num_params"]
    if millions is not None:
        assert count / 1e6 == pytest.approx(millions, rel=0.005)


def test_the_two_halves_of_the_static_vae(shared: Path) -> None:
    published = json.loads((shared / "upstream" / "gvf_static_vae.json").read_text())
    with torch.device("meta"):
        module = build_published("static-vae")
    counts = [sum(p.numel() for p in module.get_submodule(part).parameters()) for part in ("encoder", "decoder")]
    assert counts == [published["num_params_encoder"], published["num_params_decoder"]]


def test_the_public_decoder_of_32_gaussians(shared: Path) -> None:
    variant = json.loads((shared / "upstream" / "trellis_slat_gs_decoder.json").read_text())["variant_num_gaussians_32"]
    with torch.device("meta"):
        module = build_published("slat-gs-decoder", gaussians_per_voxel=32)
    shapes = {key: list(value.shape) for key, value in module.state_dict().items()}
    assert {key: shapes[key] for key in variant["differing_shapes"]} == variant["differing_shapes"]
    assert sum(p.numel() for p in module.parameters()) == variant["num_params"]
