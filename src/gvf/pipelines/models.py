"""Models as their training stages exported them, built again from the settings stored beside the weights."""

from __future__ import annotations

from pathlib import Path

import torch

from gvf.config.load import parse
from gvf.config.static_vae import StaticVaeConfig
from gvf.config.variation_dit import VariationDitConfig
from gvf.config.variation_vae import VariationVaeConfig
from gvf.diffusion.schedule import NoiseSchedule, cosine_schedule
from gvf.models.variation.dit import VariationDiT
from gvf.models.variation.joint_vae import JointVAE
from gvf.storage.files import PathLike, load_tensors, read_json
from gvf.training.checkpoint import restore_state


def load_joint_vae(directory: PathLike, device: torch.device) -> JointVAE:
    """The autoencoders of stage 2, in evaluation mode. Raises UserError when files are missing or do not fit."""
    config = read_json(Path(directory) / "config.json")
    model = JointVAE(
        parse(StaticVaeConfig, config["static_vae"], "static_vae"),
        parse(VariationVaeConfig, config["variation_vae"], "variation_vae"),
    )
    return _restored(model, directory, device)


def load_dit(directory: PathLike, latent_channels: int, device: torch.device) -> tuple[VariationDiT, NoiseSchedule]:
    """The diffusion transformer, in evaluation mode, and the noise schedule it was trained with. Raises as above."""
    config = read_json(Path(directory) / "config.json")
    model = VariationDiT(parse(VariationDitConfig, config["variation_dit"], "variation_dit"), latent_channels)
    return _restored(model, directory, device), cosine_schedule(config["train_dit"]["num_diffusion_steps"])


def _restored(model, directory: PathLike, device: torch.device):  # type: ignore[no-untyped-def]
    path = Path(directory) / "model.safetensors"
    restore_state(model, load_tensors(path), path)
    return model.to(device).eval()
