"""Training of the variation VAE with the Gaussian decoder finetuned beside it (Sec. 4.2, second stage)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gvf.config.static_vae import StaticVaeConfig
from gvf.config.train_vae_joint import TrainVaeJointConfig
from gvf.config.training import TrainingConfig
from gvf.config.variation_vae import VariationVaeConfig
from gvf.data.clips import on_white
from gvf.geometry.displacement import rms_displacement
from gvf.losses.canonical import canonical_loss
from gvf.losses.variation import image_loss, motion_loss
from gvf.models.variation.joint_vae import JointVAE, varied
from gvf.rendering.splats import draw_gaussians
from gvf.storage.files import fresh_directory
from gvf.training.batches import Draw
from gvf.training.optimizer import ParameterGroup, parameter_group
from gvf.training.tasks.canonical_batch import CanonicalBatch, ReadFeatures, ReadViews, load_canonical
from gvf.training.tasks.motion_phase import MotionBatch, MotionPhase, ReadPoints, draw_frames
from gvf.training.tasks.posteriors import Posteriors

CANONICAL_VIEWS = 1  # per clip of a batch, for the canonical loss


@dataclass(frozen=True)
class JointBatch:
    """A batch of B clips, each with F frames drawn at random.

    points: [B, 1 + F, N, 3], object units, the canonical frame first, then the drawn frames. target: [B, R, 1, H, W, 3]
    on white, one view of each of the first R drawn frames; viewmats, Ks: [B, R, 1, ...]. motion: [B], RMS displacement
    of each clip over all its frames. num_frames: T of the clips.
    """

    canonical: CanonicalBatch
    points: Tensor
    target: Tensor
    viewmats: Tensor
    Ks: Tensor
    motion: Tensor
    num_frames: int


@dataclass(frozen=True)
class JointVaeTask:
    """Train the variation VAE from random weights and finetune D_GS, which stage 1 has trained.

    static_config, variation_config, config: sections `static_vae`, `variation_vae` and `train_vae_joint`. clips: ids of
    the training clips. read_features, read_views, read_points: read a clip's data. initialize: puts stage 1's weights
    into a new static VAE. inputs: files that the clips and those weights come from.
    """

    static_config: StaticVaeConfig
    variation_config: VariationVaeConfig
    config: TrainVaeJointConfig
    clips: Sequence[str]
    read_features: ReadFeatures
    read_views: ReadViews
    read_points: ReadPoints
    initialize: Callable[[JointVAE], None]
    inputs: Sequence[Path]
    name: ClassVar[str] = "train-vae-joint"

    @property
    def training(self) -> TrainingConfig:
        """Return the settings of the optimiser and the loop."""
        return self.config.training

    @property
    def sections(self) -> Mapping[str, Any]:
        """Return the configuration sections that decide the result."""
        return {
            "static_vae": self.static_config,
            "variation_vae": self.variation_config,
            "train_vae_joint": self.config,
        }

    def build(self) -> JointVAE:
        """Return stage 1's networks beside a new variation VAE; E_GS is frozen, D_GS where the configuration says so."""
        model = JointVAE(self.static_config, self.variation_config)
        self.initialize(model)
        model.static.decoder.requires_grad_(self.config.finetune_decoder)
        return model

    def parameter_groups(self, model: JointVAE) -> list[ParameterGroup]:
        """Return the variation VAE's parameters and, if it is finetuned, those of D_GS at its own learning rate."""
        variation = parameter_group([model.variation])
        decoder = parameter_group([model.static.decoder], self.config.decoder_lr_scale)
        return [variation, decoder] if self.config.finetune_decoder else [variation]

    @cached_property
    def posteriors(self) -> Posteriors:
        """Return E_GS's posteriors of the clips met so far."""
        return Posteriors()

    @cached_property
    def motion_phase(self) -> MotionPhase | None:
        """Return the steps that learn only the motion, where the configuration has them."""
        config = self.config.motion_phase
        if config is None:
            return None
        weights = self.config.variation_loss
        return MotionPhase(config, weights, self.clips, self.read_features, self.read_points, self.build)

    def load(self, draw: Draw) -> JointBatch | MotionBatch:
        """Load some frames of each drawn clip, without repetition; those of a complete step with images."""
        phase = self.motion_phase
        return self._load_images(draw) if phase is None or phase.is_over(draw.step) else phase.load(draw)

    def loss(self, model: JointVAE, batch: JointBatch | MotionBatch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode, sample and decode; return motion loss + image loss + canonical loss, and the terms of all three."""
        phase = self.motion_phase
        if phase is not None:
            if isinstance(batch, MotionBatch):
                return phase.loss(model, batch, draw)
            phase.clear()
        assert isinstance(batch, JointBatch)
        return self._complete_loss(model, batch, draw)

    def _load_images(self, draw: Draw) -> JointBatch:
        """Load some frames of each drawn clip, the first of them seen from one random view each."""
        generator, clips = draw.generator, [self.clips[index] for index in draw.indices]
        canonical = load_canonical(clips, self.read_features, self.read_views, CANONICAL_VIEWS, generator)
        points, targets, viewmats, Ks, motion = [], [], [], [], []
        for clip in clips:
            track, views = self.read_points(clip), self.read_views(clip, "train")
            frames = draw_frames(track, self.config.frames_per_clip, generator)
            points.append(torch.cat([track[:1], track[frames]]))
            motion.append(rms_displacement(track))
            frames = frames[: self.config.rendered_frames]
            cameras = torch.randint(views.rgba.shape[1], (len(frames),), generator=generator)
            targets.append(on_white(views.rgba[frames, cameras]).unsqueeze(1))
            viewmats.append(views.viewmats[frames, cameras].unsqueeze(1))
            Ks.append(views.Ks[frames, cameras].unsqueeze(1))
        return JointBatch(
            canonical,
            torch.stack(points),
            torch.stack(targets),
            torch.stack(viewmats),
            torch.stack(Ks),
            torch.stack(motion),
            num_frames=len(track),
        )

    def _complete_loss(self, model: JointVAE, batch: JointBatch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        static = batch.canonical
        clips = [self.clips[index] for index in draw.indices]
        still_posterior = self.posteriors(model.static.encoder, clips, static.features, static.voxels)
        canonical = model.decode_canonical(still_posterior, static.voxels, draw.generator)
        motion = model.motion(canonical, batch.points, draw.generator)
        posterior = model.encode(canonical, motion)
        chosen = choose_gaussians(canonical.valid, self.config.guided_gaussians, draw.generator)
        num_rendered, size = batch.target.shape[1], batch.target.shape[-2]
        whole, some = model.decode_for_training(canonical, posterior.sample(draw.generator), chosen, num_rendered)
        with torch.autocast(whole.device.type, enabled=False):
            moving, moving_terms = image_loss(
                draw_gaussians(varied(canonical.gaussians, whole), batch.viewmats, batch.Ks, size),
                batch.target,
                self.config.variation_loss,
            )
            guided, guided_terms = motion_loss(
                some[..., :3],
                motion.interpolated.gather(2, chosen[:, None, :, None].expand(-1, some.shape[1], -1, 3)),
                posterior,
                batch.num_frames,
                batch.motion,
                self.config.variation_loss,
            )
            still, still_terms = canonical_loss(
                draw_gaussians(canonical.gaussians, static.viewmats, static.Ks, size),
                static.target,
                still_posterior,
                canonical.gaussians,
                canonical.valid,
                1.0 / self.static_config.resolution,
                self.config.canonical_loss,
            )
        terms = moving_terms | guided_terms | {f"canonical_{name}": value for name, value in still_terms.items()}
        return moving + guided + still, terms

    def save(self, model: JointVAE, folder: Path) -> None:
        """Write the folders of all three networks."""
        with fresh_directory(folder) as partial:
            model.save(partial)


def choose_gaussians(valid: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw Gaussians of each clip, with repetition and without padding.

    valid: [B, G], false for padding, which comes last. Returns indices [B, count].
    """
    draws = torch.rand(len(valid), count, generator=generator).to(valid.device)
    return (draws * valid.sum(1, keepdim=True)).long()
