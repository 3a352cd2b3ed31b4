"""Check a folder of networks in seconds: are all files there, whole, of the right kind, sizes and digest.

Files are opened as loading opens them, but only headers are read, and networks are built without memory, on the meta device.
What remains unseen are the values in files whose digest is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from gvf.errors import UserError
from gvf.models.canonical.gaussian_decoder import GaussianDecoder
from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.canonical.static_vae import StaticVAE
from gvf.models.network_folder import WEIGHTS_NAME, load_network
from gvf.models.variation.dit import VariationDiT
from gvf.models.variation.joint_vae import JointVAE
from gvf.models.variation.vae import VariationVAE
from gvf.pipelines.encoder_check import check_encoder
from gvf.pipelines.generator_folder import IMAGE_FOLDER, NETWORKS, decisive_files
from gvf.pipelines.generator_index import INDEX_NAME, GeneratorIndex, read_index
from gvf.pipelines.image_networks import holds_image_networks
from gvf.pipelines.image_to_canonical import ImageToCanonical
from gvf.pipelines.image_to_canonical_folder import SOURCES, find_index, find_network, load_index, load_network_at
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.pipelines.part_checks import ModelCheck, Part, are_published, described
from gvf.pipelines.published_generator import FILES, is_published, published_parts
from gvf.storage import published_files
from gvf.storage.checksums import CHECKSUMS_NAME, read_checksums
from gvf.storage.files import sha256
from gvf.storage.published_files import HubFile
from gvf.weights import canonical_layouts
from gvf.weights.containers import read_single_tensor
from gvf.weights.finding import find_published, find_weights
from gvf.weights.layout import Layout
from gvf.weights.loading import load_as
from gvf.weights.verification import verify

_CLASSES: Mapping[str, Any] = dict(
    zip(NETWORKS, (SlatEncoder, GaussianDecoder, VariationVAE, VariationDiT), strict=True)
)
_META = torch.device("meta")


def check_models(folder: Path) -> ModelCheck:
    """Return the check of every model in a folder. Raises UserError when there is no such folder, or no known model in it.

    Known are generators of gvf with their networks from an image, the paper's release, TRELLIS's release, converted weights
    of both, and folders of `ImageToCanonical.save_pretrained`.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Name the folder of a generator, or of published weights.")
    check = ModelCheck(folder)
    if (folder / INDEX_NAME).is_file():
        decoder = _generator(check)
        if (folder / IMAGE_FOLDER).is_dir():
            _image_networks(check, folder / IMAGE_FOLDER, decoder)
    else:
        decoder = None
        if is_published(folder) or any(find_published(folder, file) for file in FILES.values()):
            decoder = _published_generator(check)
        if holds_image_networks(folder):
            _image_networks(check, folder, decoder)
        if check.contents:
            check_encoder(check, None)
    if not check.contents:
        raise UserError(
            f"{folder}: holds no model that gvf knows: neither {INDEX_NAME} nor an index of networks from an image, nor weights "
            "of the paper's or of TRELLIS's release."
        )
    return check


def _generator(check: ModelCheck) -> GaussianDecoder | None:
    """Check a generator of our own; return its decoder without values."""
    check.contents.append("generator of gvf")
    folder, found = check.folder, {}
    index = check.run("index", folder / INDEX_NAME, lambda _: (read_index(folder), "valid"))
    for name in NETWORKS:
        place = folder / name if (folder / name).is_dir() else None
        absent = "there is no such folder. Copy the whole folder of the generator."
        found[name] = check.run(name, place, partial(_own_network, _CLASSES[name]), absent)
    if index is not None and check.ok:
        check.run("together", folder, partial(_fit_together, index, found))
    if (folder / CHECKSUMS_NAME).is_file():
        check.run("digests", folder / CHECKSUMS_NAME, partial(_digests, check))
    if index is not None and index.image_encoder.name == "dinov2":
        check_encoder(check, index.image_encoder)
    return found["gaussian_decoder"]


def _digests(check: ModelCheck, _: Path) -> tuple[None, str]:
    """Raise UserError unless every file that results depend on is the one that was exported."""
    expected = read_checksums(check.folder)
    names = decisive_files(check.folder)
    for name in (*names, *sorted(expected.keys() - set(names))):
        path = check.folder / name
        check.refuse_leaving(path)
        if not path.is_file():
            raise UserError(f"{name} is missing. Copy the whole folder again.")
        if name not in expected or sha256(path) != expected[name]:
            raise UserError(f"{name} is not the file that was exported. Copy the whole folder again.")
    return None, f"SHA-256 of {len(names)} files as exported"


def _own_network(network_class: Any, place: Path) -> tuple[Any, str]:
    network = load_network(network_class, place, headers_only=True)
    return network, described(network)


def _fit_together(index: GeneratorIndex, networks: Mapping[str, Any], _: Path) -> tuple[None, str]:
    """Raise UserError unless networks of our own and their index belong together."""
    encoder, decoder, variation, dit = (networks[name] for name in NETWORKS)
    MotionGenerator(index, JointVAE.of(StaticVAE.of(encoder, decoder), variation), dit, _META)
    return None, "networks and index belong together"


def _published_generator(check: ModelCheck) -> GaussianDecoder | None:
    """Check the files of the paper's release; return the generator's decoder without values."""
    check.contents.append("the paper's release")
    folder = check.folder
    networks = {
        layout: _published_network(check, folder, layout, file, partial(load_as, layout=layout, headers_only=True))
        for layout, file in FILES.items()
    }
    for file in published_files.STATISTICS:
        absent = f"{file.name} is not here. `gvf weights pull statistics` fetches it."
        check.run(file.name.removesuffix(".pt"), find_published(folder, file), _statistic, absent)
    if check.ok:
        check.run("together", folder, partial(_release_fits_together, networks))
    static = networks[canonical_layouts.STATIC_VAE]
    return None if static is None else cast(StaticVAE, static).decoder


def _release_fits_together(networks: Mapping[Layout, nn.Module | None], folder: Path) -> tuple[None, str]:
    parts = published_parts(folder, networks)
    MotionGenerator(parts.index, parts.vae, parts.dit, _META)
    return None, "networks and statistics belong together"


def _image_networks(check: ModelCheck, folder: Path, decoder: GaussianDecoder | None) -> None:
    """Check the networks from an image to canonical Gaussians. decoder: of the generator beside them, if there is one."""
    settings, before = find_index(folder), len(check.parts)
    check.contents.append("networks from an image")
    index = None
    if settings is not None:
        index = check.run("settings", settings, lambda _: (load_index(folder), "valid"))
    networks: dict[str, Any] = {}
    for name, (layout, file) in SOURCES.items():
        if name == "gaussian_decoder" and decoder is not None and find_network(folder, name) is None:
            networks[name] = decoder  # the generator's own
            continue
        load = partial(load_network_at, layout=layout, headers_only=True)
        networks[name] = _published_network(check, folder, layout, file, load, (name,))
    if all(part.state == "ok" for part in check.parts[before:]):

        def fit_together(_: Path) -> tuple[None, str]:
            ImageToCanonical(**networks, index=index, device=_META)
            return None, "networks and settings belong together" + ("" if settings else "; settings as published")

        check.run("together", folder, fit_together)


def _published_network(
    check: ModelCheck,
    folder: Path,
    layout: Layout,
    file: HubFile,
    load: Callable[[Path], nn.Module],
    names: tuple[str, ...] = (),
) -> nn.Module | None:
    """Check one network of a release, or what was made from it. names: of its folder, beside its kind."""
    absent = (
        f"{file.name} is not here, nor a folder {' or '.join((*names, layout.kind))} with {WEIGHTS_NAME}. `gvf weights pull "
        f"{layout.kind}` fetches the published file."
    )
    try:
        place = find_weights(folder, layout, file, names)
    except UserError as error:
        check.parts.append(Part(layout.kind, "", "damaged", str(error).removeprefix(f"{folder}: ")))
        return None

    def network(place: Path) -> tuple[nn.Module, str]:
        proof = "a folder" if place.is_dir() else "recognised by its content"
        if place.name == file.name:
            finding = verify(file, place)
            if finding.problem:
                raise UserError(finding.problem)
            proof = finding.proof
        found = load(place)
        sizes = "published sizes" if are_published(found, layout.kind) else "other sizes than published"
        return found, f"{described(found)}, {sizes}; {proof}"

    return check.run(layout.kind, place, network, absent)


def _statistic(path: Path) -> tuple[None, str]:
    return None, f"{read_single_tensor(path).numel()} values"
