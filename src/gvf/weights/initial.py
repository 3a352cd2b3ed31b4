"""Initial weights: of the static VAE's networks published ones by name, or a file; of the others a folder of one of ours."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.models.canonical.gaussian_decoder import GaussianDecoder
from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.canonical.static_vae import DECODER_FOLDER, ENCODER_FOLDER, StaticVAE
from gvf.models.network_folder import WEIGHTS_NAME, load_network
from gvf.models.variation.dit import VariationDiT
from gvf.models.variation.vae import VariationVAE
from gvf.weights import canonical_layouts
from gvf.weights.catalog import CATALOG
from gvf.weights.containers import read_tensors
from gvf.weights.layout import recognize
from gvf.weights.loading import load_as

_FIELD = "train_vae_static.initial_weights"


def find_initial(network: str, source: str) -> Path:
    """Return the file of a source: a name in `gvf weights list`, or a path.

    network: `encoder` or `decoder`. A path may name a file of weights, the folder of one network, or the folder that the
    stage train-vae-static wrote. Raises UserError, saying how to get the file, when it is missing.
    """
    if source in CATALOG:
        files = CATALOG[source].files
        path = files[0].find() if len(files) == 1 else None
        if path is None:
            raise UserError(
                f"params.yaml: {_FIELD}.{network}: the published weights {source!r} are not here. Run `gvf weights pull "
                f"{source}`, or name a file of such weights, or null to train from random weights."
            )
        return path
    if not Path(source).exists():
        raise UserError(
            f"params.yaml: {_FIELD}.{network}: {source!r} is neither a file nor a name of published weights. `gvf weights "
            "list` shows the names."
        )
    folders = (Path(source) / {"encoder": ENCODER_FOLDER, "decoder": DECODER_FOLDER}[network], Path(source))
    return next((folder / WEIGHTS_NAME for folder in folders if (folder / WEIGHTS_NAME).is_file()), Path(source))


def load_initial(model: StaticVAE, network: str, path: Path) -> None:
    """Copy the weights in a file into one network of the model.

    network: `encoder` (E_GS) or `decoder` (D_GS). path: weights of this network, published or written by the stage
    train-vae-static, or published weights of both networks. Raises UserError when the file holds another network or other sizes.
    """
    target = model.get_submodule(network)
    tensors = read_tensors(path)
    own = _part(model, network, path, tensors)
    expected = {name: tuple(value.shape) for name, value in target.state_dict().items()}
    for name, shape in expected.items():
        if tuple(own[name].shape) != shape:
            raise UserError(f"{path}: {_misfit(network, own, expected, model)} ({name}: {list(own[name].shape)}).")
    with torch.no_grad():
        target.load_state_dict(own)


def start_from(source: str, target: VariationVAE | VariationDiT, field: str) -> None:
    """Copy the weights of the network stored in the folder `source` into `target`.

    field: of params.yaml, for messages. Raises UserError when the folder holds no network of its kind, or one of other sizes, apart
    from the network's `FREE_SIZES`.
    """
    stored: VariationVAE | VariationDiT = load_network(type(target), source)
    found, expected = stored.sizes(), target.sizes()
    others = [
        f"{name} {found.get(name)} instead of {value}"
        for name, value in expected.items()
        if found.get(name) != value and name not in target.FREE_SIZES
    ]
    if others:
        raise UserError(
            f"params.yaml: {field}: the network in {source} is another one than that to be trained: {', '.join(others)}. Change "
            "the section that describes the network, or start from null."
        )
    with torch.no_grad():
        target.load_state_dict(stored.state_dict())


def _part(model: StaticVAE, network: str, path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the network as a state dict with our names."""
    kind = recognize({name: tuple(value.shape) for name, value in tensors.items()})
    alone = canonical_layouts.SLAT_ENCODER if network == "encoder" else canonical_layouts.SLAT_GS_DECODER
    layout = next((layout for layout in (canonical_layouts.STATIC_VAE, alone) if layout.kind == kind), None)
    if layout is None:
        raise UserError(f"{path}: holds no {network} of the static VAE; its kind is {kind or 'unknown'}.")
    untold = {"num_heads": model.config.num_heads, "window": model.config.window}
    module = load_as(path, layout, untold)
    part = module.get_submodule(network) if isinstance(module, StaticVAE) else module
    assert isinstance(part, SlatEncoder if network == "encoder" else GaussianDecoder)
    return part.state_dict()


def _misfit(network: str, found: dict[str, Tensor], expected: dict[str, tuple[int, ...]], model: StaticVAE) -> str:
    """Return why weights of the right kind do not fit the model."""
    if network == "decoder":
        count, wanted = len(found["offset_perturbation"]), model.config.gaussians_per_voxel
        if count != wanted:
            return (
                f"decodes {count} Gaussians per voxel, but static_vae.gaussians_per_voxel is {wanted}. A part of them "
                "would leave holes: start from static-vae-initial, which has 8, or change the number"
            )
    return f"this {network} is not of the sizes in params.yaml, section static_vae"
