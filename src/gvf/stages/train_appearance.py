"""Stage `train-appearance`: train the structured latent flow, and write the networks from an image to canonical Gaussians.

The flow learns the latents of E_GS. Stage 2 of the VAE leaves E_GS as stage 1 trained it and finetunes D_GS to decode the same
latents, so E_GS is read from `models/vae_static`, and its latents suit the finetuned D_GS, which belongs to the generator: the
variation VAE was trained on the Gaussians of that one. So the folder that is written has no D_GS; whoever loads it gives the
generator's.
"""

from __future__ import annotations

from pathlib import Path

from gvf.config.params import Params
from gvf.data.clips import clip_ids
from gvf.data.image_examples import load_image_examples
from gvf.data.manifest import read_manifest
from gvf.devices import resolve_device
from gvf.models.canonical.slat_encoder import SlatEncoder
from gvf.models.canonical.static_vae import ENCODER_FOLDER
from gvf.models.image_to_3d.slat_flow import SlatFlow
from gvf.models.network_folder import WEIGHTS_NAME, load_network
from gvf.pipelines.encoder_weights import weights_digest
from gvf.pipelines.generator_index import Moments, Training, encoder_facts
from gvf.pipelines.image_to_canonical_folder import assemble_networks
from gvf.pipelines.image_to_canonical_index import ImageToCanonicalIndex
from gvf.pipelines.training_credits import credits_of
from gvf.tracking import client as tracking
from gvf.training.fit import fit
from gvf.training.tasks.slat_flow import SlatFlowTask, SlatMoments, slat_moments
from gvf.workspace import Workspace


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Train on the training clips' conditioning images, and write `models/image_to_3d` with the networks of the structure."""
    clips = clip_ids(workspace, "train", after=workspace.features)
    folder = workspace.vae_static / ENCODER_FOLDER
    encoder = load_network(SlatEncoder, folder).to(resolve_device(params.run.device)).requires_grad_(False)
    moments = slat_moments(clips, lambda clip: load_image_examples(workspace, clip), encoder)
    index = _index(params, workspace, clips, moments)

    def write(flow: SlatFlow, place: Path) -> None:
        assemble_networks(place, workspace.structure, flow, index)

    task = SlatFlowTask(
        model_config=params.slat_flow,
        config=params.train_appearance,
        clips=clips,
        read_examples=lambda clip: load_image_examples(workspace, clip),
        encoder=encoder,
        moments=moments,
        write=write,
        inputs=[workspace.curated_manifest, folder / WEIGHTS_NAME],
    )
    metrics = fit(task, workspace.image_to_3d, params.run, params.execution, workspace, tracking.log)
    tracking.log_model(workspace.image_to_3d, task.name)
    return metrics


def _index(params: Params, workspace: Workspace, clips: list[str], moments: SlatMoments) -> ImageToCanonicalIndex:
    """Return what inference needs to know of the networks; sampling has the published values until an export."""
    rows = read_manifest(workspace.curated_manifest).set_index("clip_id", drop=False).loc[clips]
    return ImageToCanonicalIndex(
        slat=Moments(mean=tuple(moments.mean.tolist()), std=tuple(moments.std.tolist())),
        orientation=params.image_to_3d.orientation,
        image_encoder=encoder_facts(params.featurize, params.image_to_3d.image_size, weights_digest(params.featurize)),
        map_size=params.image_to_3d.map_size,
        training=Training(
            frames=1,
            clips=len(clips),
            variants=int(rows["variant_of"].notna().sum()),
            preset=params.run.preset,
            source=" and ".join(params.collect.sources),
            credits=credits_of(rows),
        ),
    )
