"""Stage `train-dit`: train the variation field diffusion transformer on encoded clips (Sec. 3.2)."""

from __future__ import annotations

from pathlib import Path

from gvf.config.params import Params
from gvf.config.variation_dit import VariationDitConfig
from gvf.data.clips import clip_ids, load_features
from gvf.data.latents import LatentClip, load_latents, load_statistics
from gvf.data.manifest import read_manifest
from gvf.errors import UserError
from gvf.models.network_folder import WEIGHTS_NAME
from gvf.models.variation.dit import VariationDiT
from gvf.pipelines.encoder_weights import weights_digest
from gvf.pipelines.generator_folder import assemble
from gvf.pipelines.generator_index import CanonicalViews, Training, build_index
from gvf.pipelines.training_credits import credits_of
from gvf.tracking import client as tracking
from gvf.training.fit import fit
from gvf.training.tasks.dit import DitTask
from gvf.weights.initial import start_from
from gvf.workspace import Workspace


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Train the diffusion transformer on the training clips and write a generator: it and the networks around it."""
    clips = clip_ids(workspace, "train", after=workspace.latents)
    statistics, first = load_statistics(workspace), load_latents(workspace, clips[0])
    _demand_aligned(params.variation_dit, first, workspace)
    rows = read_manifest(workspace.curated_manifest).set_index("clip_id", drop=False).loc[clips]
    index = build_index(
        "Gaussian Variation Field Diffusion",
        Training(
            frames=len(first.mean),
            clips=len(clips),
            variants=int(rows["variant_of"].notna().sum()),
            preset=params.run.preset,
            source=" and ".join(params.collect.sources),
            credits=credits_of(rows),
        ),
        statistics,
        params.train_dit.num_diffusion_steps,
        params.featurize,
        load_features(workspace, clips[0])["voxel_features"].shape[1],
        CanonicalViews.of(params.render),
        weights_digest(params.featurize),
    )
    source = params.train_dit.initial_weights

    def initialize(model: VariationDiT) -> None:
        if source is not None:
            start_from(source, model, "train_dit.initial_weights")

    task = DitTask(
        model_config=params.variation_dit,
        config=params.train_dit,
        clips=clips,
        read_latents=lambda clip: load_latents(workspace, clip),
        read_videos=lambda clip: load_features(workspace, clip)["video_tokens"],
        statistics=statistics,
        initialize=initialize,
        write=lambda dit, folder: assemble(folder, dit, workspace.vae_joint, index),
        inputs=[
            workspace.curated_manifest,
            workspace.latent_statistics,
            *([] if source is None else [Path(source) / WEIGHTS_NAME]),
        ],
    )
    metrics = fit(task, workspace.generator, params.run, params.execution, workspace, tracking.log)
    tracking.log_model(workspace.generator, task.name)
    return metrics


def _demand_aligned(config: VariationDitConfig, clip: LatentClip, workspace: Workspace) -> None:
    """Raise UserError unless an encoded clip has the features at its latents that the network is given."""
    channels = clip.aligned.shape[-1]
    if config.sees_aligned and channels != config.aligned_channels:
        raise UserError(
            f"{workspace.latents}: clips have {channels} channels of image features at their latents, but "
            f"variation_dit.image_condition {config.image_condition} needs {config.aligned_channels}. Run `dvc repro encode` "
            "with these parameters."
        )
