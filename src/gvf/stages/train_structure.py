"""Stage `train-structure`: train the structure VAE, then the flow from an image to its latents (TRELLIS, first stage)."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from gvf.config.params import Params
from gvf.data.clips import clip_ids
from gvf.data.image_examples import ImageExamples, load_image_examples
from gvf.devices import resolve_device
from gvf.models.image_to_3d.ss_flow import SsFlow
from gvf.models.image_to_3d.ss_vae import SS_DECODER_FOLDER, SS_ENCODER_FOLDER, SsVAE
from gvf.models.network_folder import WEIGHTS_NAME, save_network
from gvf.tracking import client as tracking
from gvf.training.checkpoint import remove_checkpoints
from gvf.training.fit import fit
from gvf.training.tasks.ss_flow import SsFlowTask, latent_deviation, structure_latents
from gvf.training.tasks.ss_vae import SsVaeTask
from gvf.workspace import Workspace

SS_FLOW_FOLDER = "ss_flow"


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Train both networks on the training clips' conditioning images and save their averaged weights.

    A run that is killed during the second training resumes there: the first one's last checkpoint is kept until then.
    """
    clips = clip_ids(workspace, "train", after=workspace.features)
    vae_metrics = _train_vae(params, workspace, clips)
    metrics = _train_flow(params, workspace, clips)
    remove_checkpoints(workspace.checkpoints(SsVaeTask.name))
    tracking.log_model(workspace.structure, SsFlowTask.name)
    return metrics | {f"vae_{name}": value for name, value in vae_metrics.items()}


def _train_vae(params: Params, workspace: Workspace, clips: list[str]) -> dict[str, float]:
    task = SsVaeTask(
        model_config=params.ss_vae,
        config=params.train_structure.vae,
        resolution=params.featurize.voxel_resolution,
        clips=clips,
        read_examples=lambda clip: load_image_examples(workspace, clip),
        inputs=[workspace.curated_manifest],
    )
    return fit(task, workspace.structure_vae, params.run, params.execution, workspace, tracking.log, keep=True)


def _train_flow(params: Params, workspace: Workspace, clips: list[str]) -> dict[str, float]:
    vae, resolution = SsVAE.load(workspace.structure_vae), params.featurize.voxel_resolution
    device = resolve_device(params.run.device)
    encoder = vae.to(device).requires_grad_(False).encoder

    def examples(clip: str) -> ImageExamples:
        return load_image_examples(workspace, clip)

    def encoded(clip: str, images: int) -> Tensor:
        return structure_latents(encoder, examples(clip), images, resolution)

    def latents(clip: str) -> Tensor:
        return workspace.cached(("structure latents", clip), lambda: encoded(clip, len(examples(clip).tokens)))

    # The flow's noise has deviation 1, whatever weight the KL divergence had.
    vae.rescale(latent_deviation([encoded(clip, 1) for clip in clips]).to(device))

    def write(flow: SsFlow, folder: Path) -> None:
        vae.save(folder)
        save_network(flow, folder / SS_FLOW_FOLDER)

    task = SsFlowTask(
        model_config=params.ss_flow,
        config=params.train_structure.flow,
        clips=clips,
        read_examples=examples,
        read_latents=latents,
        write=write,
        inputs=[
            workspace.curated_manifest,
            *(workspace.structure_vae / name / WEIGHTS_NAME for name in (SS_ENCODER_FOLDER, SS_DECODER_FOLDER)),
        ],
    )
    return fit(task, workspace.structure, params.run, params.execution, workspace, tracking.log)
