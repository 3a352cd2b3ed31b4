"""Networks saved into folders and read back, and folders from outside that are not what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gvf.errors import UserError
from gvf.models.canonical.gaussian_decoder import GaussianDecoder
from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.network_folder import load_network, save_network
from gvf.models.variation.dit import VariationDiT
from gvf.models.variation.vae import VariationVAE
from gvf.storage.files import load_tensors, save_tensors
from gvf.weights.published import load_published
from tests.weights.small_weights import small_network

CLASSES: dict[str, Any] = {
    "variation-vae": VariationVAE,
    "dit": VariationDiT,
    "slat-encoder": SlatEncoder,
    "slat-gs-decoder": GaussianDecoder,
}


@pytest.mark.parametrize("kind", CLASSES)
def test_a_saved_network_comes_back_with_its_tensors_sizes_and_precision(kind: str, tmp_path: Path) -> None:
    network: Any = small_network(kind)
    save_network(network, tmp_path)
    found = load_network(CLASSES[kind], tmp_path)
    assert not found.training
    assert found.sizes() == network.sizes()
    for name, tensor in network.state_dict().items():
        assert found.state_dict()[name].dtype == tensor.dtype
        assert torch.equal(found.state_dict()[name], tensor), name
    published = load_published(tmp_path, kind)  # the same folder through the door of published weights
    assert all(torch.equal(published.state_dict()[name], tensor) for name, tensor in network.state_dict().items())


def edited(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "config.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit


def tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = load_tensors(folder / "model.safetensors")
        change(content)
        save_tensors(folder / "model.safetensors", content)

    return edit


def wide(content: dict[str, torch.Tensor]) -> None:
    content["proj.bias"] = torch.zeros(7)


def whole_numbers(content: dict[str, torch.Tensor]) -> None:
    content["proj.bias"] = content["proj.bias"].to(torch.int64)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), r"config\.json: no such file"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors: no such file"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json: not valid JSON"),
        (lambda folder: (folder / "config.json").write_text("[" * 100_000), r"config\.json: not valid JSON"),
        (lambda folder: (folder / "config.json").write_text(" " * (2 << 20)), r"config\.json: larger than 1 MiB"),
        (lambda folder: (folder / "config.json").write_text("[]"), r"config\.json: does not describe a network"),
        (edited(lambda content: content.update(kind="dit")), r"of kind 'dit', where 'variation-vae' is expected"),
        (edited(lambda content: content["sizes"].update(colour=1)), r"colour"),
        (edited(lambda content: content["sizes"].pop("width")), r"width"),
        (edited(lambda content: content["sizes"].update(width="wide")), r"width"),
        (edited(lambda content: content["sizes"].update(width=30)), r"has shape .* but config\.json requires"),
        (edited(lambda content: content["sizes"].update(width=1 << 40)), r"width is 1099511627776, but the weights"),
        (
            edited(lambda content: content["sizes"].update(num_layers=10**9)),
            r"num_layers is 1000000000, but the weights",
        ),
        (edited(lambda content: content["sizes"].update(num_layers=3)), r"layers\.2\.\S+ is missing, as are"),
        (tensors(lambda content: content.update(extra=torch.zeros(1))), r"extra is unexpected"),
        (tensors(wide), r"proj\.bias has shape \[7\]"),
        (tensors(whole_numbers), r"proj\.bias is torch\.int64"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n"), r"model\.safetensors: "),
    ],
)
def test_folders_that_do_not_hold_the_network_are_refused(
    break_it: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    save_network(small_network("variation-vae"), tmp_path)
    break_it(tmp_path)
    with pytest.raises(UserError, match=message):
        load_network(VariationVAE, tmp_path)
