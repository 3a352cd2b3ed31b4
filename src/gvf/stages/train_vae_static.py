"""Stage `train-vae-static`: train the canonical autoencoder, mesh features to Gaussians (Sec. 4.2, first stage)."""

from __future__ import annotations

from gvf.config.load import as_dict
from gvf.config.params import Params
from gvf.data.clips import clip_ids, load_features, load_views
from gvf.models.canonical.static_vae import StaticVAE
from gvf.tracking import client as tracking
from gvf.training.fit import fit
from gvf.training.tasks.static_vae import StaticVaeTask
from gvf.weights.initial import find_initial, load_initial
from gvf.workspace import Workspace


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Train on the canonical views of the training clips and save the averaged weights.

    Raises UserError before anything else when configured initial weights are missing.
    """
    sources = as_dict(params.train_vae_static.initial_weights)
    initial = {network: find_initial(network, source) for network, source in sources.items() if source is not None}

    def initialize(model: StaticVAE) -> None:
        for network, path in initial.items():
            load_initial(model, network, path)

    task = StaticVaeTask(
        model_config=params.static_vae,
        config=params.train_vae_static,
        clips=clip_ids(workspace, "train", after=workspace.features),
        read_features=lambda clip: load_features(workspace, clip),
        read_views=lambda clip, kind: load_views(workspace, clip, kind),
        initialize=initialize,
        inputs=[workspace.curated_manifest, *initial.values()],
    )
    metrics = fit(task, workspace.vae_static, params.run, params.execution, workspace, tracking.log)
    tracking.log_model(workspace.vae_static, task.name)
    return metrics
