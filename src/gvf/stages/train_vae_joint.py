"""Stage `train-vae-joint`: the variation VAE with the Gaussian decoder finetuned beside it (Sec. 4.2, second stage)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gvf.config.params import Params
from gvf.data.clips import clip_ids, load_points, load_views, on_white
from gvf.losses.canonical import canonical_loss
from gvf.losses.kl import kl_divergence
from gvf.losses.mesh_guided import mesh_guided_loss
from gvf.losses.reconstruction import reconstruction_loss
from gvf.models.variation.joint_vae import JointVAE, varied
from gvf.rendering.splats import draw_gaussians
from gvf.storage.files import load_tensors
from gvf.training.batches import Draw
from gvf.training.canonical_batch import CanonicalBatch, load_canonical
from gvf.training.checkpoint import restore_state
from gvf.training.fit import fit
from gvf.training.optimizer import ParameterGroup, parameter_group
from gvf.workspace import Workspace

CANONICAL_VIEWS = 1  # of each clip of a batch, for the canonical loss


@dataclass(frozen=True)
class JointBatch:
    """A batch of clips, each with F frames drawn at random.

    points: [B, 1 + F, N, 3], the canonical frame first, then the drawn frames. target: [B, R, 1, H, W, 3] on white, one
    view of each of the first R drawn frames; viewmats, Ks: [B, R, 1, ...]. num_frames: T of the clips.
    """

    canonical: CanonicalBatch
    points: Tensor
    target: Tensor
    viewmats: Tensor
    Ks: Tensor
    num_frames: int


def load_joint(
    workspace: Workspace, clips: list[str], num_frames: int, num_rendered: int, generator: torch.Generator
) -> JointBatch:
    """Some frames of each clip, drawn without repetition, a part of them seen from one of their views."""
    canonical = load_canonical(workspace, clips, CANONICAL_VIEWS, generator)
    points, targets, viewmats, Ks = [], [], [], []
    for clip in clips:
        track, views = load_points(workspace, clip), load_views(workspace, clip, "train")
        frames = torch.randperm(len(track), generator=generator)[:num_frames]
        points.append(torch.cat([track[:1], track[frames]]))
        frames = frames[:num_rendered]
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
        num_frames=len(track),
    )


def draw_gaussians_of_clips(valid: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Some Gaussians of each clip, none of them padding: valid [B, G] to indices [B, count], with repetition."""
    draws = torch.rand(len(valid), count, generator=generator).to(valid.device)
    return (draws * valid.sum(1, keepdim=True)).long()


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Train the variation VAE from random weights and go on training D_GS from stage 1's."""
    config = params.train_vae_joint
    weights = config.variation_loss
    static_weights = workspace.vae_static / "model.safetensors"
    clips = clip_ids(workspace, "train", after=workspace.features)

    def build() -> JointVAE:
        model = JointVAE(params.static_vae, params.variation_vae)
        restore_state(model.static, load_tensors(static_weights), static_weights)
        model.static.decoder.requires_grad_(config.finetune_decoder)
        return model

    def groups(model: JointVAE) -> Sequence[ParameterGroup]:
        variation = parameter_group([model.variation])
        decoder = parameter_group([model.static.decoder], config.decoder_lr_scale)
        return [variation, decoder] if config.finetune_decoder else [variation]

    def load(draw: Draw) -> JointBatch:
        chosen = [clips[index] for index in draw.indices]
        return load_joint(workspace, chosen, config.frames_per_clip, config.rendered_frames, draw.generator)

    def loss(model: JointVAE, batch: JointBatch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        static = batch.canonical
        canonical = model.canonical(static.features, static.voxels, draw.generator)
        motion = model.motion(canonical, batch.points, draw.generator)
        posterior = model.encode(canonical, motion)
        chosen = draw_gaussians_of_clips(canonical.valid, config.guided_gaussians, draw.generator)
        num_rendered, size = batch.target.shape[1], batch.target.shape[-2]
        whole, some = model.decode_for_training(canonical, posterior.sample(draw.generator), chosen, num_rendered)
        with torch.autocast(whole.device.type, enabled=False):
            moving = varied(canonical.gaussians, whole)
            image, terms = reconstruction_loss(
                draw_gaussians(moving, batch.viewmats, batch.Ks, size),
                batch.target,
                ssim_weight=weights.ssim,
                lpips_weight=weights.lpips,
            )
            guide = motion.interpolated.gather(2, chosen[:, None, :, None].expand(-1, some.shape[1], -1, 3))
            terms["mesh_guided"] = mesh_guided_loss(
                some[..., :3], guide, num_frames=batch.num_frames, norm=weights.mesh_guided_norm
            )
            terms["kl"] = kl_divergence(posterior.mean, posterior.logvar)
            still, still_terms = canonical_loss(
                draw_gaussians(canonical.gaussians, static.viewmats, static.Ks, size),
                static.target,
                canonical.posterior,
                canonical.gaussians,
                canonical.valid,
                1.0 / params.static_vae.resolution,
                config.canonical_loss,
            )
        total = image + weights.mesh_guided * terms["mesh_guided"] + weights.kl * terms["kl"] + still
        return total, terms | {f"canonical_{name}": value for name, value in still_terms.items()}

    return fit(
        "train-vae-joint",
        workspace,
        params.run,
        params.execution,
        config.training,
        build,
        groups,
        len(clips),
        load,
        loss,
        sections={
            "static_vae": params.static_vae,
            "variation_vae": params.variation_vae,
            "train_vae_joint": config,
        },
        inputs=[static_weights],
        output=workspace.vae_joint,
    )
