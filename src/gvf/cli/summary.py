"""Command `summary`: show the parameters and the activation memory of a preset's networks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from gvf.config.load import parse
from gvf.config.preset import load_preset
from gvf.config.static_vae import StaticVaeConfig
from gvf.config.train_vae_joint import TrainVaeJointConfig
from gvf.config.variation_dit import VariationDitConfig
from gvf.config.variation_vae import VariationVaeConfig

if TYPE_CHECKING:
    from gvf.cli.footprint import Load

DINOV2_FRAME_TOKENS = 1370


def load_of(values: dict[str, Any], batch: int) -> Load:
    """Return the sizes that a preset gives the networks and their inputs. values: its sections as plain values."""
    from gvf.cli.footprint import Load

    joint = parse(TrainVaeJointConfig, values["train_vae_joint"], "train_vae_joint")
    token_grid = values["featurize"]["token_grid"]
    return Load(
        static_vae=parse(StaticVaeConfig, values["static_vae"], "static_vae"),
        variation_vae=parse(VariationVaeConfig, values["variation_vae"], "variation_vae"),
        variation_dit=parse(VariationDitConfig, values["variation_dit"], "variation_dit"),
        frames=values["curate"]["num_frames"],
        points=values["curate"]["num_points"],
        frame_tokens=token_grid**2 if token_grid else DINOV2_FRAME_TOKENS,
        vae_frames=joint.frames_per_clip,
        whole_frames=joint.rendered_frames,
        guided_gaussians=joint.guided_gaussians,
        batch=batch,
    )


@click.command("summary")
@click.option("--preset", required=True, metavar="NAME", help="A preset of conf/preset, such as cpu or paper.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Clips per batch.")
@click.option("--json", "as_json", is_flag=True, help="Print parameters and activation bytes per network as JSON.")
def command(preset: str, batch: int, as_json: bool) -> None:
    """Show each network's parameters, and the peak memory of its activations in a forward pass.

    TRELLIS's ss_flow, ss_decoder and slat_flow have their published sizes in every preset. Objects are assumed to have
    as many voxels as a sphere of radius 0.45 box sides. Nothing is allocated or computed.
    """
    values = load_preset(preset)
    from gvf.cli.footprint import footprints

    found = footprints(load_of(values, batch))
    if as_json:
        memory = {name: {"training": entry.training, "inference": entry.inference} for name, entry in found.items()}
        parameters = {name: entry.parameters for name, entry in found.items()}
        click.echo(json.dumps({**parameters, "preset": preset, "batch": batch, "activation_bytes": memory}, indent=2))
        return
    click.echo(f"{'network':<18}{'parameters':>13}  activations of a batch of {batch}: training, inference")
    for name, entry in found.items():
        click.echo(f"{name:<18}{entry.parameters:>13,}  {_gib(entry.training):>34}{_gib(entry.inference):>11}")


def _gib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**30:.2f} GiB"
