"""Export of a workspace's generator as a folder with model card, data card and what was measured on it."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gvf.config.params import Params
from gvf.data.clips import clip_ids
from gvf.data.manifest import read_manifest
from gvf.errors import UserError
from gvf.methods import DIT, REFINED, VAE
from gvf.models.canonical.gaussian_decoder import GaussianDecoder
from gvf.models.network_folder import load_network
from gvf.pipelines.data_card import DATA_CARD_NAME, data_card
from gvf.pipelines.generator_folder import (
    IMAGE_FOLDER,
    NETWORKS,
    copy_networks,
    count_parameters,
    decisive_files,
    generator_digest,
    refuse_foreign_files,
    write_description,
)
from gvf.pipelines.generator_index import GeneratorIndex, Sampling, Training, read_index, write_index
from gvf.pipelines.half_precision import copy_networks_halved
from gvf.pipelines.held_out_motions import HeldOutMotions
from gvf.pipelines.image_to_canonical import ImageToCanonical
from gvf.pipelines.image_to_canonical_folder import OWN_NETWORKS, load_index
from gvf.pipelines.image_to_canonical_index import FlowSampling
from gvf.pipelines.image_to_canonical_index import write_index as write_image_index
from gvf.pipelines.model_card import CardFacts, GroupRow
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.stage_table import TRAINING_STAGES
from gvf.storage.checksums import write_checksums
from gvf.storage.files import fresh_directory, read_json
from gvf.tracking.provenance import UNKNOWN, code_version
from gvf.workspace import Workspace

CHECKED_CLIPS = 24  # held-out clips that show what half precision costs


@dataclass(frozen=True)
class ExportOptions:
    """What is exported and how.

    output: folder; by default `work/exports`/<preset of the training>. name: of the generator; by default its title and
    preset. half: store the weights as float16. largest_mb: refuse a larger folder, in 1e6 bytes. license, attribution:
    see `CardFacts`. command: what the user ran, for the card.
    """

    output: Path | None = None
    name: str = ""
    half: bool = False
    largest_mb: float | None = None
    license: str = ""
    attribution: str = ""
    command: str = ""


def export(workspace: Workspace, params: Params, options: ExportOptions, warn: Callable[[str], None]) -> Path:
    """Write the workspace's generator into a separate folder, with its metrics, a model card and a data card.

    params: of the workspace; the settings of `sample` become the generator's own, preset and data are those that the
    training recorded. warn: called with what the cards lack. Returns the folder. Raises UserError when there is no generator
    yet, when it is larger than allowed, or when the output is the workspace's own or holds anything but a generator.
    """
    source = workspace.generator
    if not source.is_dir():
        raise UserError(f"{source}: no such folder. Run `dvc repro train-dit` first.")
    index = read_index(source)
    preset = index.training.preset
    output = options.output or workspace.exports / (preset or "generator")
    if output.resolve() == source.resolve():
        raise UserError(f"{output}: is the output of `train-dit` itself. Name another folder with --output.")
    refuse_foreign_files(output)
    is_measured = _is_measured(workspace, warn)
    changes = {
        "title": options.name or (f"{index.title}, preset {preset}" if preset else index.title),
        "sampling": Sampling.of(params.sample),
        "commit": _commit(workspace),
        "metrics": _metrics(workspace) if is_measured else {},
    }
    index = index.model_copy(update=changes)
    with fresh_directory(output) as folder:
        (copy_networks_halved if options.half else copy_networks)(source, folder)
        write_index(folder, index)
        image = _copy_image_networks(workspace, params, folder, options, warn)
        precision = _precision(workspace, params, index, folder, warn) if options.half else ""
        groups = _groups(workspace) if is_measured else []
        facts = _facts(workspace, index.training, options, precision, groups)
        write_description(folder, index, facts if image is None else _with_image_networks(facts, image, workspace))
        if workspace.curated_manifest.is_file():
            text = data_card(index.title, index.training, read_manifest(workspace.curated_manifest), image)
            (folder / DATA_CARD_NAME).write_text(text, encoding="utf-8")
        write_checksums(folder, decisive_files(folder))
        _demand_size(folder, output, options.largest_mb)
    return output


def _copy_image_networks(
    workspace: Workspace, params: Params, folder: Path, options: ExportOptions, warn: Callable[[str], None]
) -> Training | None:
    """Copy the networks from an image to canonical Gaussians, if they are there; return what they were trained on.

    The settings of `sample` become theirs. Raises UserError when they do not fit the generator.
    """
    source, target = workspace.image_to_3d, folder / IMAGE_FOLDER
    if not source.is_dir():
        warn(
            f"{source}: not here, so the generator needs a model of the object or TRELLIS's weights. Run `dvc repro "
            "train-appearance` and export again."
        )
        return None
    (copy_networks_halved if options.half else copy_networks)(source, target, OWN_NETWORKS)
    sampling, index = params.sample, load_index(source)
    flows = {"structure": FlowSampling.of(sampling.structure), "latents": FlowSampling.of(sampling.latents)}
    write_image_index(target, index.model_copy(update=flows))
    decoder = load_network(GaussianDecoder, folder / "gaussian_decoder")
    ImageToCanonical.from_pretrained(target, decoder=decoder)  # refuses networks that do not belong together
    return index.training


def _with_image_networks(facts: CardFacts, training: Training, workspace: Workspace) -> CardFacts:
    parameters = {f"{IMAGE_FOLDER}/{name}": count_parameters(workspace.image_to_3d, name) for name in OWN_NETWORKS}
    return replace(facts, parameters={**facts.parameters, **parameters}, image_clips=training.clips)


def _precision(
    workspace: Workspace, params: Params, index: GeneratorIndex, folder: Path, warn: Callable[[str], None]
) -> str:
    """Return sentences that say what half precision costs on held-out clips, where the workspace has them."""
    stored = "Weights are stored as float16 and converted to float32 when they are loaded."
    if not workspace.latents.is_dir():
        warn(
            f"{workspace.latents}: not here, so what float16 costs was not measured. Run `dvc repro encode` and export again."
        )
        return f"{stored} What this costs was not measured."
    clips = clip_ids(workspace, "held_out", after=workspace.latents)
    clips = clips[:: max(1, math.ceil(len(clips) / CHECKED_CLIPS))]
    before, after = (
        HeldOutMotions(
            MotionGenerator.from_pretrained(place, local_files_only=True), workspace, params.run.seed, index.sampling
        ).errors(clips)
        for place in (workspace.generator, folder)
    )
    return (
        f"{stored} Displacement error on {len(clips)} held-out clips before and after: VAE {before['vae']:.4f} and "
        f"{after['vae']:.4f}, DiT {before['dit']:.4f} and {after['dit']:.4f}."
    )


def _facts(
    workspace: Workspace, training: Training, options: ExportOptions, precision: str, groups: list[GroupRow]
) -> CardFacts:
    source, count, variants, attribution = training.source, training.clips, training.variants, options.attribution
    if source == "procedural" and not attribution:
        attribution = "The clips are generated by gvf itself and carry no third-party licence."
    number = f" ({count} clips{f', {variants} of them variants of others' if variants else ''})" if count else ""
    return CardFacts(
        license=options.license,
        data=f"Source of the training clips: {source}{number}." if source else "",
        attribution=attribution,
        parameters={name: count_parameters(workspace.generator, name) for name in NETWORKS},
        groups=groups,
        precision=precision,
        trainings=_trainings(workspace),
        command=options.command,
    )


def _trainings(workspace: Workspace) -> list[str]:
    """Return a line per training stage with its steps and its duration, as far as they are recorded."""
    lines = []
    for stage in TRAINING_STAGES:
        path = workspace.metrics(stage)
        found: Mapping[str, Any] = read_json(path) if path.is_file() else {}
        if "steps" in found:
            minutes = f", {found['seconds'] / 60.0:.1f} minutes" if "seconds" in found else ""
            lines.append(f"{stage}: {found['steps']:,} steps{minutes}")
    return lines


def _is_measured(workspace: Workspace, warn: Callable[[str], None]) -> bool:
    """Return whether the metrics of the stage `evaluate` are there and were measured on the generator that is here."""
    path, measurement = workspace.metrics("evaluate"), workspace.scores / "measurement.json"
    if not path.is_file():
        return False
    measured = read_json(measurement).get("generator_sha256") if measurement.is_file() else None
    if measured != generator_digest(workspace.generator):
        warn(
            f"{path}: left out, because it is not known to be measured on this generator. Run `dvc repro evaluate` and export "
            "again."
        )
        return False
    return True


def _metrics(workspace: Workspace) -> dict[str, float]:
    """Return the finite metrics of the stage `evaluate`."""
    values: dict[str, Any] = read_json(workspace.metrics("evaluate"))
    return {
        name: float(value) for name, value in values.items() if isinstance(value, int | float) and math.isfinite(value)
    }


def _groups(workspace: Workspace) -> list[GroupRow]:
    """Return what VAE, DiT and refined motion reach on each group of held-out clips, as the stage `evaluate` wrote it."""
    path = workspace.scores / "summary.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    by_method = {(row["group"], row["method"]): row for row in rows}
    return [
        GroupRow(
            group,
            int(by_method[group, DIT]["num_clips"]),
            *(
                _number(by_method.get((group, method), {}).get(name))
                for name in ("gap_closed", "displacement_error")
                for method in (VAE, DIT, REFINED)
            ),
        )
        for group in dict.fromkeys(row["group"] for row in rows)
        if (group, VAE) in by_method and (group, DIT) in by_method
    ]


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _demand_size(folder: Path, output: Path, largest_mb: float | None) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    if largest_mb is not None and size > largest_mb:
        raise UserError(
            f"{output}: would be {size:.1f} MB, more than the {largest_mb:g} MB of --largest. Store it with --half, or train "
            "smaller networks."
        )


def _commit(workspace: Workspace) -> str | None:
    version = code_version(workspace.root)
    return None if version.commit == UNKNOWN else str(version)
