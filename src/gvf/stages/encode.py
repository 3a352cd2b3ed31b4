"""Stage `encode`: the latents of every clip and their statistics, what the diffusion transformer learns from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from gvf.config.params import Params
from gvf.config.variation_dit import VariationDitConfig
from gvf.data.clips import clip_ids, load_features, load_points, load_views
from gvf.data.latents import LatentClip, StatisticsOfClips, save
from gvf.data.rejections import record_rejections
from gvf.devices import resolve_device
from gvf.errors import ClipError, StageError
from gvf.execution.clip_map import Rejected, attempt
from gvf.models.encoders.aligned_features import PointsInView, aligned_features
from gvf.models.encoders.image_encoder import ImageEncoder, build_image_encoder
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
    image_encoder = build_image_encoder(params.featurize, device) if params.variation_dit.sees_aligned else None
    encoder = ClipEncoder(vae, image_encoder, workspace, params.variation_dit, params.featurize.batch_size, device)
    with fresh_directory(workspace.latents) as folder:
        training_clips, seen = set(train), StatisticsOfClips()
        results: list[Rejected | None] = []
        for clip in tqdm([*train, *held_out], desc="encode", unit="clip", mininterval=1.0):
            record = attempt(clip, encoder.encode, clip)
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


@dataclass(frozen=True)
class ClipEncoder:
    """Encodes clips of a workspace.

    image_encoder: of the features at the latents; None where the transformer does not see them. conditions: what it sees.
    batch_size: frames encoded at once.
    """

    vae: JointVAE
    image_encoder: ImageEncoder | None
    workspace: Workspace
    conditions: VariationDitConfig
    batch_size: int
    device: torch.device

    @torch.no_grad()
    def encode(self, clip: str) -> LatentClip:
        """Return the posterior of a clip's latents for all its frames, and what conditions them."""
        features, points = load_features(self.workspace, clip), load_points(self.workspace, clip).to(self.device)
        voxels = (features[name].to(self.device) for name in ("voxel_features", "voxels"))
        canonical = canonical_from_features(self.vae, *voxels)
        motion = self.vae.motion(canonical, torch.cat([points[:1], points]).unsqueeze(0))
        posterior = self.vae.encode(canonical, motion)
        if not (posterior.mean.isfinite().all() and posterior.logvar.isfinite().all()):
            raise ClipError(
                "invalid", "its latents are not finite."
            )  # they would corrupt the statistics over all clips
        gaussians = canonical.clip(0)
        handles = choose_handles(gaussians, self.vae.variation.config.num_latents, self.conditions.num_static)
        aligned = self._aligned(clip, handles.positions, gaussians.means)
        return LatentClip(posterior.mean[0], posterior.logvar[0], handles.positions, handles.static, aligned)

    def _aligned(self, clip: str, positions: Tensor, surface: Tensor) -> Tensor:
        """Return the image features [A, T, L, D] float16 of a clip's conditioning videos at positions [L, 3].

        surface: [N, 3], all canonical Gaussians.
        """
        if self.image_encoder is None:
            return torch.empty(0, 0, len(positions), 0, dtype=torch.float16)
        views = load_views(self.workspace, clip, "video")
        cameras = zip(views.rgba, views.viewmats.double().numpy(), views.Ks.double().numpy())
        features = self.conditions.aligned_features
        videos = []
        for rgba, viewmat, K in cameras:
            seen = PointsInView(positions, surface, viewmat, K)
            videos.append(aligned_features(self.image_encoder, rgba, seen, features, self.batch_size, self.device))
        return torch.stack(videos).half()
