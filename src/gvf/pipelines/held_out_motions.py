"""Motions of held-out clips, generated from their frontal videos, and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gvf.data.clips import load_features, load_points, load_views
from gvf.data.latents import load_latents
from gvf.metrics.displacement import relative_error
from gvf.models.variation.dit import VideoCondition
from gvf.models.variation.joint_vae import Canonical, JointVAE
from gvf.pipelines.animate_mesh import canonical_from_features, known_motion, reconstruct
from gvf.pipelines.clip_player import VIDEO
from gvf.pipelines.generator_index import Sampling
from gvf.pipelines.motion_generator import Generated, MotionGenerator
from gvf.training.randomness import derive_seed
from gvf.workspace import Workspace


@dataclass(frozen=True)
class GeneratedMotion:
    """The generated motion of one clip. field: [T, G, 14], decoded from the latents [T, L, C]."""

    field: Tensor
    latents: Tensor


@dataclass(frozen=True)
class HeldOutMotions:
    """Generates the motions of held-out clips; the noise depends only on the seed and the clip."""

    pipeline: MotionGenerator
    workspace: Workspace
    seed: int
    sampling: Sampling

    def generate(self, clips: Sequence[str], canonicals: Sequence[Canonical]) -> Generated:
        """Generate the variation fields of some clips from their frontal videos."""
        videos = [self._video(clip) for clip in clips]
        num_frames = [len(load_latents(self.workspace, clip).mean) for clip in clips]
        generators = [torch.Generator().manual_seed(derive_seed(self.seed, "sample", clip)) for clip in clips]
        noise = [self.pipeline.noise(*pair) for pair in zip(num_frames, generators)]
        gaussians = [canonical.clip(0) for canonical in canonicals]
        return self.pipeline.generate(videos, gaussians, noise, self.sampling)

    def refined(self, clip: str, canonical: Canonical, latents: Tensor) -> Tensor:
        """Return the variation field [T, N, 14] of a clip's generated latents [T, L, C], fitted to its frontal video."""
        pipeline, gaussians, views = self.pipeline, canonical.clip(0), load_views(self.workspace, clip, "video")
        camera = views.viewmats[VIDEO].double().numpy(), views.Ks[VIDEO].double().numpy()
        refinement = pipeline.refinement(gaussians, views.rgba[VIDEO], *camera)
        return pipeline.decode(refinement.run(latents, self.sampling.refinement_steps), gaussians)

    def errors(self, clips: Sequence[str]) -> dict[str, float]:
        """Return the mean displacement errors of `vae` and `dit` over clips that are generated together."""
        vae, device = self.pipeline.vae, self.pipeline.device
        canonicals = [canonical_of_clip(vae, self.workspace, clip, device) for clip in clips]
        fields = self.generate(clips, canonicals).fields
        errors: dict[str, list[float]] = {"vae": [], "dit": []}
        for clip, canonical, field in zip(clips, canonicals, fields):
            motion = known_motion(vae, canonical, load_points(self.workspace, clip).to(device))
            displacements = motion.interpolated[0]
            errors["vae"].append(relative_error(reconstruct(vae, canonical, motion)[..., :3], displacements))
            errors["dit"].append(relative_error(field[..., :3], displacements))
        return {name: sum(values) / len(values) for name, values in errors.items()}

    def _video(self, clip: str) -> VideoCondition:
        """Return what is seen of a clip's frontal video."""
        sees = self.pipeline.dit.config
        tokens = load_features(self.workspace, clip)["video_tokens"][VIDEO] if sees.sees_tokens else None
        return VideoCondition(tokens, load_latents(self.workspace, clip).aligned[VIDEO] if sees.sees_aligned else None)


def canonical_of_clip(vae: JointVAE, workspace: Workspace, clip: str, device: torch.device) -> Canonical:
    """Return the canonical Gaussians of a clip, from its mesh's features."""
    features = load_features(workspace, clip)
    return canonical_from_features(vae, features["voxel_features"].to(device), features["voxels"].to(device))
