"""A generator on disk: one folder with a subfolder per network, `generator.json`, and the model card `README.md`."""

from __future__ import annotations

import shutil
from pathlib import Path

from gvf.models.network_folder import CONFIG_NAME, WEIGHTS_NAME, save_network
from gvf.models.variation.dit import VariationDiT
from gvf.pipelines.generator_index import GeneratorIndex, write_index
from gvf.pipelines.model_card import CARD_NAME, CardFacts, card
from gvf.storage.files import PathLike, atomic_path

AUTOENCODERS = ("slat_encoder", "gaussian_decoder", "variation_vae")
DIT_FOLDER = "variation_dit"
NETWORKS = (*AUTOENCODERS, DIT_FOLDER)


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


def write_description(folder: PathLike, index: GeneratorIndex, facts: CardFacts | None = None) -> None:
    """Write `generator.json` and the model card."""
    write_index(folder, index)
    with atomic_path(Path(folder) / CARD_NAME) as partial:
        partial.write_text(card(index, facts or CardFacts()), encoding="utf-8")
