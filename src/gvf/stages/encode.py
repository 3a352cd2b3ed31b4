"""Stage `encode`: the latents of every clip and their statistics, what the diffusion transformer learns from."""

from __future__ import annotations

import torch
from tqdm import tqdm

from gvf.config.params import Params
from gvf.data.clips import clip_ids, load_features, load_points
from gvf.data.latents import LatentClip, StatisticsOfClips, save
from gvf.data.rejections import record_rejections
from gvf.devices import resolve_device
from gvf.errors import ClipError, StageError
from gvf.execution.clip_map import Rejected, attempt
from gvf.models.variation.joint_vae import JointVAE
from gvf.pipelines.animate_mesh import canonical_from_features
from gvf.pipelines.handles import choose_handles
from gvf.storage.files import fresh_directory
from gvf.workspace import Workspace


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Encode training and held-out clips with mean canonical latents; statistics are of the training clips alone."""
    device = resolve_device(params.run.device)
    vae = JointVAE.load(workspace.vae_joint).to(device)
    before = workspace.features
    train, held_out = clip_ids(workspace, "train", after=before), clip_ids(workspace, "held_out", after=before)
    num_static = params.variation_dit.num_static
    with fresh_directory(workspace.latents) as folder:
        training_clips, seen = set(train), StatisticsOfClips()
        results: list[Rejected | None] = []
        for clip in tqdm([*train, *held_out], desc="encode", unit="clip", mininterval=1.0):
            record = attempt(clip, encode_clip, vae, workspace, clip, num_static, device)
            results.append(record if isinstance(record, Rejected) else None)
            if isinstance(record, Rejected):
                continue
            save(folder / f"{clip}.safetensors", record)
            if clip in training_clips:
                seen.add(record)
        rejected = record_rejections(folder, "encode", results, after=before)
        if not any(result is None for result in results[: len(train)]):
            raise StageError(f"encode: none of {len(train)} training clips could be encoded; first: {results[0]}.")
        statistics = seen.statistics()
        save(folder / workspace.latent_statistics.name, statistics)
    return {
        "clips": len(results) - rejected,
        "rejected": rejected,
        "latent_std_mean": statistics.latent_std.mean().item(),
        "posterior_std_mean": seen.posterior_std_mean,
    }


@torch.no_grad()
def encode_clip(vae: JointVAE, workspace: Workspace, clip: str, num_static: int, device: torch.device) -> LatentClip:
    """Return the posterior of a clip's latents for all its frames, and the canonical Gaussians that go with them."""
    features, points = load_features(workspace, clip), load_points(workspace, clip).to(device)
    canonical = canonical_from_features(vae, features["voxel_features"].to(device), features["voxels"].to(device))
    motion = vae.motion(canonical, torch.cat([points[:1], points]).unsqueeze(0))
    posterior = vae.encode(canonical, motion)
    if not (posterior.mean.isfinite().all() and posterior.logvar.isfinite().all()):
        raise ClipError("invalid", "its latents are not finite.")  # they would corrupt the statistics over all clips
    handles = choose_handles(canonical.clip(0), vae.variation.config.num_latents, num_static)
    return LatentClip(posterior.mean[0], posterior.logvar[0], handles.positions, handles.static)
