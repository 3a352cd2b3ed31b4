"""The networks from an image to canonical Gaussians on disk: the TRELLIS release, converted files, or our own folder."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from torch import nn

from gvf.errors import UserError
from gvf.models.image_to_3d.slat_flow import SlatFlow
from gvf.models.image_to_3d.ss_decoder import SsDecoder
from gvf.models.image_to_3d.ss_flow import SsFlow
from gvf.models.network_folder import read_sizes, save_network
from gvf.pipelines.generator_folder import copy_networks
from gvf.pipelines.generator_index import HUB_NAME
from gvf.pipelines.hub import PATTERNS, snapshot
from gvf.pipelines.image_to_canonical_index import (
    INDEX_NAME,
    RELEASE_INDEX,
    ImageToCanonicalIndex,
    read_decoder_sizes,
    read_index,
    read_released_index,
    write_index,
)
from gvf.storage import published_files
from gvf.storage.files import PathLike
from gvf.storage.published_files import HubFile
from gvf.text import clean
from gvf.weights import canonical_layouts, flow_layouts
from gvf.weights.finding import find_published, find_weights
from gvf.weights.layout import Layout
from gvf.weights.loading import load_as

STRUCTURE_NETWORKS = ("ss_flow", "ss_decoder")
"""Networks of the stage `train-structure` that generation needs; it writes the structure VAE's encoder, too."""
OWN_NETWORKS = (*STRUCTURE_NETWORKS, "slat_flow")
"""Networks in a folder of the stage `train-appearance`, which has no D_GS: that is the generator's."""
REPOSITORY = published_files.SS_FLOW.repository
SOURCES: Mapping[str, tuple[Layout, HubFile]] = {
    "ss_flow": (flow_layouts.SS_FLOW, published_files.SS_FLOW),
    "ss_decoder": (flow_layouts.SS_DECODER, published_files.SS_DECODER),
    "slat_flow": (flow_layouts.SLAT_FLOW, published_files.SLAT_FLOW),
    "gaussian_decoder": (canonical_layouts.SLAT_GS_DECODER, published_files.SLAT_GS_DECODER),
}
"""For each network's folder of our own: its kind, and its file in the release."""

_RELEASED = [file.path for _, file in SOURCES.values()]
_SETTINGS = Path(published_files.SLAT_GS_DECODER.path).with_suffix(".json").as_posix()


def assemble_networks(folder: PathLike, structure: PathLike, flow: SlatFlow, index: ImageToCanonicalIndex) -> None:
    """Write the folder of our own networks from the structured latent flow and the folder of the structure's networks."""
    copy_networks(structure, folder, STRUCTURE_NETWORKS)
    save_network(flow, Path(folder) / "slat_flow")
    write_index(folder, index)


def locate_networks(
    name_or_folder: PathLike,
    *,
    revision: str | None = None,
    cache_dir: PathLike | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """Return the folder of the networks: the given one, or a copy of a repository of the model hub.

    Arguments as in `gvf.pipelines.hub.locate`. Files that `gvf weights pull` fetched are used where the name is that of
    the TRELLIS release. Raises UserError when there is no such folder and the repository cannot be had.
    """
    folder, name = Path(name_or_folder), str(name_or_folder)
    if folder.is_dir():
        return folder
    if isinstance(name_or_folder, Path) or not re.fullmatch(HUB_NAME, name):
        raise UserError(
            f"{clean(name, 200)}: no such folder, and not a name on the model hub (owner/name, as text). Give the folder "
            f"of the networks, or {REPOSITORY}."
        )
    if name == REPOSITORY and revision is None:
        pulled = published_files.weights_folder() / name.split("/")[1]
        if all((pulled / path).is_file() for path in _RELEASED):
            return pulled
    patterns = [*PATTERNS, INDEX_NAME, RELEASE_INDEX, _SETTINGS, *_RELEASED]
    return snapshot(name, patterns, revision, cache_dir, local_files_only, token)


def find_index(folder: Path) -> Path | None:
    """Return the file of settings in a folder: our own index, else that of the release; None if there is neither."""
    own = folder / INDEX_NAME
    return own if own.is_file() else find_published(folder, HubFile(REPOSITORY, "", RELEASE_INDEX))


def load_index(folder: Path) -> ImageToCanonicalIndex:
    """Return the settings stored in a folder, else the published values. Raises UserError for damaged ones."""
    path = find_index(folder)
    if path is None:
        return ImageToCanonicalIndex()
    return read_index(path) if path.name == INDEX_NAME else read_released_index(path)


def load_networks(folder: Path, without: Collection[str] = ()) -> dict[str, nn.Module]:
    """Return the networks in a folder by their names in SOURCES, in eval mode and on the CPU.

    Each is a folder of that name or of its kind (as `gvf weights convert -o ss-flow` writes it), or its file in the
    release. without: names of networks that are not wanted. Raises UserError that names what is missing or does not fit.
    """
    return {name: load_network_at(place, SOURCES[name][0]) for name, place in _places(folder, without).items()}


def find_network(folder: Path, name: str) -> Path | None:
    """Return the file or folder of a network of SOURCES inside a folder, as `find_weights` describes; None if it is absent."""
    layout, file = SOURCES[name]
    return find_weights(folder, layout, file, (name,))


def latent_grid(folder: Path) -> tuple[int, int]:
    """Return the channels and the resolution of the structured latents that the networks in a folder make, from headers."""
    places = _places(folder, without=("gaussian_decoder",))
    flow, decoder, latents = (
        load_network_at(places[name], SOURCES[name][0], headers_only=True)
        for name in ("ss_flow", "ss_decoder", "slat_flow")
    )
    assert isinstance(flow, SsFlow)
    assert isinstance(decoder, SsDecoder)
    assert isinstance(latents, SlatFlow)
    return latents.config.latent_channels, flow.config.resolution * 2 ** (len(decoder.config.channels) - 1)


def _places(folder: Path, without: Collection[str] = ()) -> dict[str, Path]:
    """Return where each network is. Raises UserError that names all that are missing."""
    found = {name: find_network(folder, name) for name in SOURCES if name not in without}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        files = [f"{name} ({SOURCES[name][1].name}, or a folder {name} or {SOURCES[name][0].kind})" for name in missing]
        raise UserError(
            f"{folder}: lacks the network{'s' if len(missing) > 1 else ''} {', '.join(files)}. `gvf weights pull "
            f"{' '.join(SOURCES[name][0].kind for name in missing)}` fetches what is published; `gvf models check` shows what is "
            "there."
        )
    return {name: place for name, place in found.items() if place is not None}


def load_network_at(place: Path, layout: Layout, *, headers_only: bool = False) -> nn.Module:
    """Return one network. headers_only: as in `load_as`. Raises UserError as that does."""
    sizes = {}
    if place.is_dir():
        read_sizes(place, layout.kind)  # a config.json that is damaged or of another kind is refused
    elif layout is canonical_layouts.SLAT_GS_DECODER and place.with_suffix(".json").is_file():
        sizes = read_decoder_sizes(place.with_suffix(".json"))
    network = load_as(place, layout, sizes, headers_only=headers_only)
    # Tensors are copied, so that results do not depend on offsets in the file.
    network.load_state_dict({key: tensor.clone() for key, tensor in network.state_dict().items()}, assign=True)
    return network
