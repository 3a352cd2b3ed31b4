"""Where a generator's networks from an image to canonical Gaussians are: its own, TRELLIS's beside it, or pulled ones."""

from __future__ import annotations

from pathlib import Path

from gvf.errors import UserError
from gvf.pipelines.generator_folder import IMAGE_FOLDER
from gvf.pipelines.image_to_canonical_folder import OWN_NETWORKS, REPOSITORY, find_network
from gvf.pipelines.image_to_canonical_index import INDEX_NAME
from gvf.storage.files import PathLike
from gvf.storage.published_files import DINOV2, MODEL_FILES


def holds_image_networks(folder: Path) -> bool:
    """Return whether a folder holds an index of such networks, or any of them but D_GS, which every generator has."""
    return (folder / INDEX_NAME).is_file() or any(_is_there(folder, name) for name in OWN_NETWORKS)


def find_image_networks(generator: Path | None) -> PathLike:
    """Return the folder of a generator's image networks, or the name of TRELLIS's release on the model hub.

    generator: its folder, None if it has none. The networks are its own (`IMAGE_FOLDER`), or beside its files.
    """
    if generator is not None:
        for folder in (generator / IMAGE_FOLDER, generator):
            if folder.is_dir() and holds_image_networks(folder):
                return folder
    return REPOSITORY


def find_dinov2(folder: Path | None) -> Path | None:
    """Return DINOv2's folder beside the networks in a folder, under the name that `gvf weights pull` gives it."""
    place = None if folder is None else folder / DINOV2.repository.split("/")[1]
    return place if place and any((place / file).is_file() for file in MODEL_FILES) else None


def _is_there(folder: Path, name: str) -> bool:
    try:
        return find_network(folder, name) is not None
    except UserError:  # several files fit: loading says so
        return True
