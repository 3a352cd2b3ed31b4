"""Command `train-vae`: both phases of the VAE's training."""

from __future__ import annotations

import click

from gvf.cli.stages import launcher_option, params_option, run_stage
from gvf.cli.table import VAE_PHASES


@click.command("train-vae")
@click.option("--phase", type=click.Choice(list(VAE_PHASES)), required=True, help="Which of the two phases to train.")
@launcher_option
@params_option
def command(phase: str, params_path: str) -> None:
    """Train the VAE in two phases: canonical autoencoder, then variation VAE with a finetuned Gaussian decoder."""
    run_stage(f"train-vae-{phase}", VAE_PHASES[phase].target, params_path)
