"""Published weights into modules and back, at small sizes in the published format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gvf.errors import UserError
from gvf.models.canonical.static_vae import StaticVAE
from gvf.models.image_to_3d.flow_transformer import ImageCondition
from gvf.models.image_to_3d.slat_flow import SlatFlow
from gvf.models.layers.precision import block_dtype, set_block_dtype
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.variation.dit import VariationDiT
from gvf.weights.catalog import KINDS, published_sizes
from gvf.weights.layout import recognize
from gvf.weights.published import LAYOUTS, load_published, published_state, save_published, sizes_of
from tests.weights.small_weights import SIZES, UNTOLD, small_network, small_state


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("kind", KINDS)
def test_files_come_back_as_they_were(kind: str, suffix: str, tmp_path: Path) -> None:
    source, copy = tmp_path / f"source{suffix}", tmp_path / f"copy{suffix}"
    save_published(small_network(kind), source, kind)
    module = load_published(source, kind, UNTOLD.get(kind))
    assert not module.training
    assert sizes_of(module, kind) == published_sizes(kind) | SIZES[kind]
    save_published(module, copy, kind)
    read = load_file if suffix == ".safetensors" else lambda path: torch.load(path, weights_only=True)
    assert_same(read(copy), small_state(kind))
    assert_same(read(source), small_state(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_recognized_by_its_keys(kind: str) -> None:
    state = small_state(kind)
    assert recognize({name: tuple(tensor.shape) for name, tensor in state.items()}) == kind
    assert LAYOUTS.keys() == set(KINDS)


def test_keys_of_the_manifests_are_those_of_small_networks(shared: Path) -> None:
    """The names that a small file lacks or has differ from the published ones in layer numbers only."""
    manifest = json.loads((shared / "upstream" / "gvf_static_vae.json").read_text())["state_dict"]
    published = {name for name in manifest if not any(f".{layer}." in name for layer in range(2, 12))}
    network = small_network("static-vae")
    assert {name for name in published_state(network, "static-vae") if ".mlp.2." not in name} == {
        name for name in published if ".mlp.2." not in name
    }


def test_the_static_vae_is_the_two_modules_renamed(tmp_path: Path) -> None:
    """Each half, under TRELLIS's names in a file of its own, computes the same."""
    whole = small_network("static-vae")
    assert isinstance(whole, StaticVAE)
    save_published(whole, tmp_path / "static.pt", "static-vae")
    loaded = load_published(tmp_path / "static.pt", "static-vae", {"num_heads": 2, "window": 4})
    for part, kind in (("encoder", "slat-encoder"), ("decoder", "slat-gs-decoder")):
        save_published(whole.get_submodule(part), tmp_path / f"{part}.safetensors", kind)
    encoder = load_published(tmp_path / "encoder.safetensors", "slat-encoder", {"num_heads": 2, "window": 4})
    decoder = load_published(tmp_path / "decoder.safetensors", "slat-gs-decoder", {"num_heads": 2, "window": 4})
    voxels = VoxelBatch.pack([torch.randint(0, 64, (40, 3))])
    features, latents = torch.randn(40, 10), torch.randn(40, 4)
    assert torch.equal(loaded.encoder(features, voxels).mean, encoder(features, voxels).mean)  # type: ignore[operator]
    ours, theirs = loaded.decoder(latents, voxels)[0], decoder(latents, voxels)[0]  # type: ignore[operator]
    assert torch.equal(ours.to_activated14(), theirs.to_activated14())
    assert ours.num_gaussians == 120


def test_overrides_tell_what_shapes_do_not(tmp_path: Path) -> None:
    path = tmp_path / "vae.pt"
    save_published(small_network("variation-vae"), path, "variation-vae")
    module = load_published(path, "variation-vae")  # 12 heads as published, of 2 channels
    assert (module.config.num_heads, module.config.num_latents, module.config.interpolation) == (12, 512, "release")
    module = load_published(path, "variation-vae", {"num_heads": 3, "num_latents": 7, "interpolation": "paper"})
    assert (module.config.num_heads, module.config.num_latents, module.config.interpolation) == (3, 7, "paper")
    with pytest.raises(
        UserError, match=r"vae\.pt: kind variation-vae: num_heads is 5, but must divide width, which is 24.*overrides"
    ):
        load_published(path, "variation-vae", {"num_heads": 5})
    with pytest.raises(UserError, match=r"has no 'heads'\. Did you mean 'num_heads'"):
        load_published(path, "variation-vae", {"heads": 3})
    with pytest.raises(UserError, match="overrides say width is 32, the file's tensors say 24"):
        load_published(path, "variation-vae", {"width": 32})


def test_sizes_beside_a_converted_file_are_used(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_published(small_network("slat-encoder"), path, "slat-encoder")
    stored = {"kind": "slat-encoder", "sizes": {"num_heads": 2, "window": 4, "width": 999}}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    module = load_published(tmp_path, "slat-encoder")
    assert (module.config.num_heads, module.config.window, module.config.width) == (2, 4, 24)
    assert load_published(tmp_path, "slat-encoder", {"window": 6}).config.window == 6
    (tmp_path / "config.json").write_text(json.dumps(stored | {"kind": "dit"}))
    assert load_published(path, "slat-encoder").config.num_heads == 12
    (tmp_path / "config.json").write_text(json.dumps(stored | {"sizes": ["window", 4]}))
    with pytest.raises(UserError, match=r"config\.json: `sizes` must be a mapping"):
        load_published(path, "slat-encoder")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files(dtype: torch.dtype, tmp_path: Path) -> None:
    """GVF's own networks become float32; TRELLIS's keep their blocks as they are, and the rest becomes float32."""
    path = tmp_path / "half.safetensors"
    for kind in ("variation-vae", "dit", "slat-flow"):
        state = small_state(kind)
        save_file({name: tensor.to(dtype) for name, tensor in state.items()}, path)
        module = load_published(path, kind, UNTOLD.get(kind))
        dtypes = {name: tensor.dtype for name, tensor in module.state_dict().items()}
        if isinstance(module, SlatFlow):
            assert block_dtype(module) == dtype
            set_block_dtype(module, torch.float32)
        elif isinstance(module, VariationDiT):
            assert set(dtypes.values()) == {torch.float32}
        else:
            assert dtypes.pop("position_encoding.0.omega") == torch.float64
            assert set(dtypes.values()) == {torch.float32}
            # Frequencies are recomputed: rounded ones would shift every position.
            assert torch.equal(module.state_dict()["position_encoding.0.omega"], state["position_encoding.0.omega"])
        for name, tensor in published_state(module, kind).items():
            torch.testing.assert_close(tensor.float(), state[name].to(dtype).float(), atol=1e-2, rtol=1e-2)
    flow = load_published(path, "slat-flow")
    voxels = VoxelBatch.pack([torch.tensor([[0, 0, 0], [0, 0, 1], [3, 2, 1]])])
    conditions = flow.prepare_conditions(ImageCondition(torch.randn(1, 4, 10)))  # type: ignore[operator]
    velocity = flow.denoise(torch.randn(3, 4), torch.tensor([500.0]), voxels, conditions)  # type: ignore[operator]
    assert velocity.dtype == torch.float32
    assert velocity.isfinite().all()


@pytest.mark.parametrize("kind", ["slat-encoder", "slat-gs-decoder", "ss-flow", "ss-decoder"])
def test_the_published_precision_computes_nearly_what_float32_does(kind: str, tmp_path: Path) -> None:
    save_published(small_network(kind), tmp_path / "half.safetensors", kind)
    voxels = VoxelBatch.pack([torch.cartesian_prod(*[torch.arange(4)] * 3)])
    torch.manual_seed(1)
    inputs = {
        "slat-encoder": lambda net: net(torch.randn(64, 10), voxels).mean,
        "slat-gs-decoder": lambda net: net(torch.randn(64, 4), voxels)[0].to_activated14(),
        "ss-flow": lambda net: net.denoise(
            torch.randn(1, 4, 3, 3, 3),
            torch.tensor([700.0]),
            net.prepare_conditions(ImageCondition(torch.randn(1, 5, 10))),
        ),
        "ss-decoder": lambda net: net(torch.randn(1, 3, 4, 4, 4)),
    }
    results = []
    for dtype in (torch.float16, torch.float32):
        network = load_published(tmp_path / "half.safetensors", kind, UNTOLD.get(kind))
        assert block_dtype(network) == torch.float16  # type: ignore[arg-type]
        set_block_dtype(network, dtype)  # type: ignore[type-var]
        torch.manual_seed(2)
        results.append(inputs[kind](network).detach())
    assert results[0].dtype == torch.float32
    assert 0 < (results[0] - results[1]).norm() / results[1].norm() < 0.01


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["ss-flow", "ss-decoder", "slat-flow"])
def test_only_layers_in_blocks_compute_in_half_precision(kind: str, dtype: torch.dtype) -> None:
    """Every layer is given values of its own precision, as on CUDA, where nothing converts them."""
    network = set_block_dtype(small_network(kind), dtype)  # type: ignore[type-var]
    blocks = set(network.block_layers())
    seen: dict[str, tuple[torch.dtype, torch.dtype, bool]] = {}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv3d):
            weight, inside = layer.weight.dtype, layer in blocks
            layer.register_forward_pre_hook(
                lambda _, inputs, name=name, weight=weight, inside=inside: seen.update(
                    {name: (inputs[0].dtype, weight, inside)}
                )
            )
    voxels = VoxelBatch.pack([torch.cartesian_prod(*[torch.arange(4)] * 3)])
    image = ImageCondition(torch.randn(1, 5, 10))
    with torch.no_grad():
        if kind == "ss-decoder":
            output = network(torch.randn(1, 3, 4, 4, 4))
        elif kind == "ss-flow":
            output = network.denoise(
                torch.randn(1, 4, 3, 3, 3), torch.tensor([700.0]), network.prepare_conditions(image)
            )
        else:
            output = network.denoise(
                torch.randn(64, 4), torch.tensor([700.0]), voxels, network.prepare_conditions(image)
            )
    assert output.dtype == torch.float32
    assert len(seen) >= 4
    for name, (given, weight, inside) in seen.items():
        assert given == weight == (dtype if inside else torch.float32), name


def test_float32_blocks_stay_float32(tmp_path: Path) -> None:
    path = tmp_path / "flow.safetensors"
    save_file({name: tensor.float() for name, tensor in small_state("ss-flow").items()}, path)
    module = load_published(path, "ss-flow")
    assert {tensor.dtype for tensor in module.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_another_kind_is_named(kind: str, other: str, tmp_path: Path) -> None:
    if kind == other:
        return
    path = tmp_path / "weights.safetensors"
    save_file(small_state(other), path)
    with pytest.raises(UserError) as caught:
        load_published(path, kind)
    assert str(path) in str(caught.value)
    assert f"kind {kind}" in str(caught.value)
    assert f"those of kind {other}" in str(caught.value)
    assert "missing" in str(caught.value) or "unexpected" in str(caught.value)


def test_the_first_key_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dit.safetensors"
    state = small_state("dit")

    def refused(changed: dict[str, Tensor], pattern: str) -> None:
        save_file(changed, path)
        with pytest.raises(UserError, match=pattern) as caught:
            load_published(path, "dit")
        assert str(path) in str(caught.value)

    without = {name: tensor for name, tensor in state.items() if not name.startswith("blocks.1.norm")}
    refused(without, r"blocks\.1\.norm3\.weight and 3 more missing. The file is a part")
    without = {name: tensor for name, tensor in state.items() if name != "image_cond_proj.weight"}
    refused(without, r"image_cond_proj\.weight is missing")
    refused(state | {"extra": torch.ones(1)}, "extra unexpected")
    misshapen = {"final_layer.linear.bias": torch.ones(5)}
    refused(state | misshapen, r"final_layer\.linear\.bias has shape \[5\], but .* require \[4\]")
    refused(state | {"input_layer.weight": torch.ones(24)}, "too few axes")
    refused(
        state | {"input_layer.bias": torch.ones(24, dtype=torch.int8)}, r"input_layer\.bias is torch\.int8.*Quantized"
    )
    refused({"conv1.weight": torch.ones(3)}, r"conv1\.weight.*marks of no kind")
    refused(state | {"blocks.10000000.norm3.weight": torch.ones(24)}, "missing")  # and no network of that many blocks


def test_unknown_kinds_and_wrong_modules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no kind of published weights\. Kinds: variation-vae, dit"):
        load_published(tmp_path / "x.pt", "vae")
    with pytest.raises(UserError, match="kind dit is a VariationDiT, not a Linear"):
        save_published(nn.Linear(2, 2), tmp_path / "x.pt", "dit")
    with pytest.raises(UserError, match=r"must end in \.safetensors or \.pt"):
        save_published(small_network("dit"), tmp_path / "x.bin", "dit")
    assert not list(tmp_path.iterdir())
