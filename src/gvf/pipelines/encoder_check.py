"""Check DINOv2's weights by their headers; they need not lie in the folder of the model that uses them."""

from __future__ import annotations

from pathlib import Path

import torch

from gvf.errors import UserError
from gvf.models.network_folder import CONFIG_NAME, read_small_json
from gvf.pipelines.generator_index import Encoder
from gvf.pipelines.image_networks import find_dinov2
from gvf.pipelines.part_checks import ModelCheck
from gvf.storage.files import sha256
from gvf.storage.model_folders import require_model_folder
from gvf.storage.published_files import DINOV2, MODEL_FILES
from gvf.text import clean
from gvf.weights.containers import read_tensors

_TYPE = "dinov2_with_registers"
_PUBLISHED = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 518,
    "patch_size": 14,
    "num_register_tokens": 4,
}


def check_encoder(check: ModelCheck, facts: Encoder | None) -> None:
    """Check DINOv2's folder beside the networks, else where `gvf weights list` finds it.

    facts: what a generator records of its encoder, with the digest of its weights where that is known.
    """
    digest = None if facts is None else facts.weights_sha256
    name = DINOV2.repository.split("/")[1]
    absent = f"{name} is neither here nor elsewhere on this machine. `gvf weights pull dinov2` fetches it."
    check.run("dinov2", find_dinov2(check.folder) or DINOV2.find(), lambda folder: _dinov2(folder, digest), absent)


def _dinov2(folder: Path, digest: str | None) -> tuple[None, str]:
    """Return what was checked. Raises UserError for a folder that holds something else, or weights of another digest."""
    require_model_folder(folder)
    sizes = read_small_json(folder / CONFIG_NAME)
    if not isinstance(sizes, dict) or sizes.get("model_type") != _TYPE:
        raise UserError(f"{folder / CONFIG_NAME}: does not describe DINOv2 with registers (model_type {_TYPE}).")
    weights = next(folder / name for name in MODEL_FILES if (folder / name).is_file())
    found = sorted(tuple(tensor.shape) for tensor in read_tensors(weights).values())
    if found != _shapes(folder, sizes, len(found)):  # names differ between versions of transformers
        raise UserError(
            f"{weights}: its tensors are not those of the network in {CONFIG_NAME}. Fetch the folder again."
        )
    if digest is not None and sha256(weights) != digest:
        raise UserError(
            f"{weights}: is not the file that the generator was trained with, whose SHA-256 is {digest[:16]}..."
        )
    same = all(sizes.get(name) == value for name, value in _PUBLISHED.items())
    proof = "SHA-256 as in training" if digest is not None else "its digest is not known"
    return None, f"{len(found)} tensors, {'published sizes' if same else 'other sizes than published'}; {proof}"


def _shapes(folder: Path, sizes: dict[str, object], most_layers: int) -> list[tuple[int, ...]]:
    """Return the shapes of all tensors of the network that a configuration describes."""
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    layers = sizes.get("num_hidden_layers", 0)
    try:
        if not isinstance(layers, int) or layers > most_layers:
            raise ValueError(f"num_hidden_layers is {layers}")
        with torch.device("meta"):
            network = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**sizes))
    except Exception as error:  # whatever a library makes of the file
        reason = clean(str(error).partition("\n")[0], 160)
        raise UserError(f"{folder / CONFIG_NAME}: describes no network ({reason}). Fetch it again.") from None
    return sorted(tuple(value.shape) for value in network.state_dict().values())
