"""A generator on disk: one folder with a subfolder per network, `generator.json`, and the model card `README.md`."""

from __future__ import annotations

import hashlib
import math
import shutil
from pathlib import Path

from gvf.errors import UserError
from gvf.models.network_folder import CONFIG_NAME, WEIGHTS_NAME, save_network
from gvf.models.variation.dit import VariationDiT
from gvf.pipelines.data_card import DATA_CARD_NAME
from gvf.pipelines.generator_index import INDEX_NAME, GeneratorIndex, write_index
from gvf.pipelines.model_card import CARD_NAME, CardFacts, card
from gvf.storage.checksums import CHECKSUMS_NAME
from gvf.storage.files import PathLike, atomic_path, sha256
from gvf.storage.recognition import require_container
from gvf.text import clean

AUTOENCODERS = ("slat_encoder", "gaussian_decoder", "variation_vae")
DIT_FOLDER = "variation_dit"
NETWORKS = (*AUTOENCODERS, DIT_FOLDER)
IMAGE_FOLDER = "image_to_3d"
"""Folder, inside a generator's, of the networks from an image to canonical Gaussians; generators may lack it."""


def assemble(
    folder: PathLike, dit: VariationDiT, autoencoders: PathLike, index: GeneratorIndex, facts: CardFacts | None = None
) -> None:
    """Write a generator's folder from a trained diffusion transformer and the folder of its autoencoders."""
    copy_networks(autoencoders, folder, AUTOENCODERS)
    save_network(dit, Path(folder) / DIT_FOLDER)
    write_description(folder, index, facts)


def copy_networks(source: PathLike, target: PathLike, names: tuple[str, ...] = NETWORKS) -> None:
    """Copy the two files of each named network from one folder into another."""
    for name in names:
        for file in (WEIGHTS_NAME, CONFIG_NAME):
            with atomic_path(Path(target) / name / file) as partial:
                shutil.copyfile(Path(source) / name / file, partial)


def refuse_foreign_files(folder: PathLike) -> None:
    """Raise UserError unless a folder can be replaced by a generator: it is missing or empty, or holds a generator alone."""
    path = Path(folder)
    if Path.cwd().is_relative_to(path.resolve()):
        raise UserError(f"{path}: is the current folder or contains it. Name another folder for the generator.")
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file. Name another folder for the generator.")
    known = {INDEX_NAME, CARD_NAME, DATA_CARD_NAME, CHECKSUMS_NAME, *NETWORKS, IMAGE_FOLDER}
    foreign = sorted(item.name for item in path.iterdir() if item.name not in known) if path.is_dir() else []
    if foreign:
        raise UserError(
            f"{path}: holds something other than a generator ({clean(foreign[0], 80)}), which would be deleted. Name another "
            "folder."
        )


def write_description(folder: PathLike, index: GeneratorIndex, facts: CardFacts | None = None) -> None:
    """Write `generator.json` and the model card."""
    write_index(folder, index)
    with atomic_path(Path(folder) / CARD_NAME) as partial:
        partial.write_text(card(index, facts or CardFacts()), encoding="utf-8")


def decisive_files(folder: PathLike) -> list[str]:
    """Return the networks' files and the indexes of a generator, all that its results depend on, relative to its folder."""
    names = [INDEX_NAME, *(f"{network}/{file}" for network in NETWORKS for file in (WEIGHTS_NAME, CONFIG_NAME))]
    image = (path for path in (Path(folder) / IMAGE_FOLDER).rglob("*") if path.is_file())
    return names + sorted(path.relative_to(folder).as_posix() for path in image)


def generator_digest(folder: PathLike) -> str:
    """Return the SHA-256 over the files that a generator's results depend on."""
    lines = [f"{name} {sha256(Path(folder) / name)}\n" for name in decisive_files(folder)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def count_parameters(folder: PathLike, network: str) -> int:
    """Return the number of values in a network's weights, read from the file's header. Raises UserError as loading does."""
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / network / WEIGHTS_NAME
    require_container(path)
    try:
        with safe_open(path, "pt") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: not a readable safetensors file ({clean(str(error), 200)}). Fetch it again."
        ) from None
