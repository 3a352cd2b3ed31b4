"""Stage `train-vae-joint`: train the variation VAE and finetune the Gaussian decoder (Sec. 4.2, second stage)."""

from __future__ import annotations

from pathlib import Path

from gvf.config.params import Params
from gvf.data.clips import clip_ids, load_features, load_points, load_views
from gvf.models.canonical.static_vae import DECODER_FOLDER, ENCODER_FOLDER, StaticVAE
from gvf.models.network_folder import WEIGHTS_NAME
from gvf.models.variation.joint_vae import JointVAE
from gvf.tracking import client as tracking
from gvf.training.checkpoint import restore_state
from gvf.training.fit import fit
from gvf.training.tasks.joint_vae import JointVaeTask
from gvf.weights.initial import start_from
from gvf.workspace import Workspace


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Train on the training clips, starting D_GS from stage 1's weights, and save the averaged weights."""
    networks = [workspace.vae_static / name for name in (ENCODER_FOLDER, DECODER_FOLDER)]
    source = params.train_vae_joint.initial_weights

    def initialize(model: JointVAE) -> None:
        restore_state(model.static, StaticVAE.load(workspace.vae_static).state_dict(), workspace.vae_static)
        if source is not None:
            start_from(source, model.variation, "train_vae_joint.initial_weights")

    if source is not None:
        networks.append(Path(source))
    task = JointVaeTask(
        static_config=params.static_vae,
        variation_config=params.variation_vae,
        config=params.train_vae_joint,
        clips=clip_ids(workspace, "train", after=workspace.features),
        read_features=lambda clip: load_features(workspace, clip),
        read_views=lambda clip, kind: load_views(workspace, clip, kind),
        read_points=lambda clip: load_points(workspace, clip),
        initialize=initialize,
        inputs=[workspace.curated_manifest, *(folder / WEIGHTS_NAME for folder in networks)],
    )
    metrics = fit(task, workspace.vae_joint, params.run, params.execution, workspace, tracking.log)
    tracking.log_model(workspace.vae_joint, task.name)
    return metrics
