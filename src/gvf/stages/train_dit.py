"""Stage `train-dit`: train the variation field diffusion transformer on encoded clips (Sec. 3.2)."""

from __future__ import annotations

from gvf.config.params import Params
from gvf.data.clips import clip_ids, load_features
from gvf.data.latents import load_latents, load_statistics
from gvf.tracking import client as tracking
from gvf.training.fit import fit
from gvf.training.tasks.dit import DitTask
from gvf.workspace import Workspace


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Train the diffusion transformer on the training clips and save its averaged weights."""
    task = DitTask(
        model_config=params.variation_dit,
        config=params.train_dit,
        clips=clip_ids(workspace, "train", after=workspace.latents),
        read_latents=lambda clip: load_latents(workspace, clip),
        read_videos=lambda clip: load_features(workspace, clip)["video_tokens"],
        statistics=load_statistics(workspace),
        inputs=[workspace.curated_manifest, workspace.latent_statistics],
    )
    metrics = fit(task, workspace.dit, params.run, params.execution, workspace, tracking.log)
    tracking.log_model(workspace.dit, task.name)
    return metrics
