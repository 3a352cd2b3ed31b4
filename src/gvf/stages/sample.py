"""Stage `sample`: moving Gaussians for held-out clips, generated and reconstructed, with the references beside them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gvf.config.params import Params
from gvf.data.clips import clip_ids, load_points, load_views
from gvf.data.rejections import record_rejections
from gvf.devices import resolve_device
from gvf.errors import ClipError
from gvf.execution.clip_map import Rejected, attempt
from gvf.gaussians.gaussians import Gaussians
from gvf.methods import DIT, INTERPOLATED, STATIC, VAE, VIDEO_ONLY
from gvf.metrics.displacement import relative_error
from gvf.models.variation.joint_vae import Canonical, JointVAE, displace
from gvf.pipelines.animate_mesh import reconstruct
from gvf.pipelines.asset_files import ASSET_NAME, PAGE_NAME
from gvf.pipelines.clip_player import ClipPlayer
from gvf.pipelines.generator_folder import generator_digest
from gvf.pipelines.generator_index import Sampling
from gvf.pipelines.held_out_motions import HeldOutMotions, canonical_of_clip
from gvf.pipelines.held_out_objects import HeldOutObjects
from gvf.pipelines.image_to_canonical import ImageToCanonical
from gvf.pipelines.image_to_canonical_index import FlowSampling
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.rendering.splats import draw_gaussians
from gvf.rendering.turntable import turntable
from gvf.storage.files import fresh_directory, save_npz, save_tensors, write_json
from gvf.tracking import client as tracking
from gvf.tracking.provenance import device_name
from gvf.video.writing import write_video
from gvf.workspace import Workspace

TURNTABLE_IMAGES, TURNTABLE_RATE = 48, 12  # once around in four seconds


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Render `static`, `interpolated` and the configured methods for every held-out clip in the eval views.

    Canonical Gaussians come from the mesh (A.3), the motion of `dit` from the frontal video alone; of `video`, both come from
    the video. The returned metric
    `seconds_per_clip` is the time per batch divided by its clips, `network_calls_per_clip` the mean number that a clip
    needs, and `network_calls_per_batch` the number of network calls per batch, which its slowest clip determines. The
    device, the batch size and the generator's digest are written to `generation.json`.
    """
    device = resolve_device(params.run.device)
    methods = params.sample.methods
    motions = None
    if DIT in methods or VIDEO_ONLY in methods:
        pipeline = MotionGenerator.from_pretrained(workspace.generator, local_files_only=True, device=device)
        motions = HeldOutMotions(pipeline, workspace, params.run.seed, Sampling.of(params.sample))
    objects = None if motions is None or VIDEO_ONLY not in methods else _objects(motions, params, workspace)
    vae = JointVAE.load(workspace.vae_joint).to(device) if motions is None else motions.pipeline.vae
    before = workspace.features if motions is None else workspace.latents
    clips = clip_ids(workspace, "held_out", after=before)
    results: list[_Values | Rejected] = []
    needed_calls, calls, seconds = [], [], []
    with fresh_directory(workspace.predictions) as folder, tqdm(total=len(clips), desc="sample", unit="clip") as bar:
        batch_size = min(params.sample.batch_size, len(clips))
        generation = {
            "device": device_name(device.type),
            "batch_size": batch_size,
            "generator_sha256": None if motions is None else generator_digest(workspace.generator),
        }
        write_json(folder / workspace.generation.name, generation)
        for start in range(0, len(clips), params.sample.batch_size):
            group = clips[start : start + params.sample.batch_size]
            canonicals = {clip: attempt(clip, canonical_of_clip, vae, workspace, clip, device) for clip in group}
            generated: dict[str, Tensor | Rejected] = {}
            if motions is not None:
                began = _now(device)
                sound = {clip: value for clip, value in canonicals.items() if not isinstance(value, Rejected)}
                generated, needed, num_calls = _generate(motions, sound)
                seconds.append((_now(device) - began) / len(group))
                needed_calls += needed
                calls += num_calls
            for clip, canonical in canonicals.items():
                bar.update()
                field = generated.get(clip)
                if isinstance(canonical, Rejected) or isinstance(field, Rejected):
                    results += [lost for lost in (canonical, field) if isinstance(lost, Rejected)]
                    continue
                drawn = attempt(
                    clip, _sample_clip, vae, workspace, clip, canonical, field, objects, methods, folder, device
                )
                if isinstance(drawn, Rejected):
                    results.append(drawn)
                    continue
                if not any(isinstance(result, _Values) for result in results):
                    _log_example(workspace, clip, drawn.moving, drawn.size)
                results.append(drawn.values)
        rejected = record_rejections(folder, "sample", results, after=before)
    done = [result for result in results if isinstance(result, _Values)]
    metrics = {"clips": float(len(done)), "rejected": float(rejected)}
    names = done[0].errors if done else ()
    metrics |= {f"{name}_displacement_error": float(np.mean([one.errors[name] for one in done])) for name in names}
    metrics["drawing_seconds_per_clip"] = float(np.mean([one.drawing_seconds for one in done]))
    if objects is not None:
        metrics["object_seconds_per_clip"] = float(np.mean([one.object_seconds for one in done]))
    if motions is not None:
        metrics |= {
            "network_calls_per_clip": float(np.mean(needed_calls)),
            "network_calls_per_batch": float(np.mean(calls)),
            "seconds_per_clip": float(np.mean(seconds)),
        }
    return metrics


@dataclass(frozen=True)
class _Values:
    """Values measured on one clip.

    errors: displacement error of each method that moves the Gaussians of the mesh. drawing_seconds: rendering time per method.
    object_seconds: time in which the object and its motion were generated from the video; 0 where they were not.
    """

    errors: dict[str, float]
    drawing_seconds: float
    object_seconds: float


@dataclass(frozen=True)
class _Sampled:
    """A clip's metrics, and the last method's moving Gaussians with the size, in pixels, at which they were rendered."""

    values: _Values
    moving: Gaussians
    size: int


def _sample_clip(
    vae: JointVAE,
    workspace: Workspace,
    clip: str,
    canonical: Canonical,
    generated: Tensor | None,
    objects: HeldOutObjects | None,
    methods: Sequence[str],
    folder: Path,
    device: torch.device,
) -> _Sampled:
    """Render one clip by every method and write it.

    generated: the field [T, G, 14] of `dit`; objects: generate what `video` shows; None where the method is not configured.
    """
    reconstructed, displacements = reconstruct(vae, canonical, load_points(workspace, clip).to(device))
    gaussians = canonical.clip(0)
    found = {VAE: reconstructed, DIT: generated}
    variations = {name: field for name, field in found.items() if name in methods and field is not None}
    began = _now(device)
    made = {} if objects is None else {VIDEO_ONLY: objects.moving(clip)}
    object_seconds = _now(device) - began
    moving = {
        STATIC: displace(gaussians, torch.zeros_like(displacements)),
        INTERPOLATED: displace(gaussians, displacements),
        **{name: gaussians.vary(field) for name, field in variations.items()},
        **made,
    }
    if not all(moving[name].to_activated14().isfinite().all() for name in methods):
        raise ClipError("invalid", "its motion is not finite.")
    views = load_views(workspace, clip, "eval")
    began = time.monotonic()
    images = {f"{name}_rgb": _draw(shape, views, device) for name, shape in moving.items()}
    seconds = (time.monotonic() - began) / len(moving)
    save_npz(folder / f"{clip}.npz", **images)
    means = {f"{name}_means": moving[name].means for name in (INTERPOLATED, *methods)}
    generated_ones = [name for name in (DIT, VIDEO_ONLY) if name in moving]
    whole = {f"{name}_gaussians": moving[name].to_activated14() for name in generated_ones}
    save_tensors(
        folder / f"{clip}.safetensors",
        {"canonical": gaussians.to_activated14(), **means, **whole},
    )
    errors = {name: relative_error(field[..., :3], displacements) for name, field in variations.items()}
    return _Sampled(_Values(errors, seconds, object_seconds), moving[methods[-1]], views.rgba.shape[-2])


def _objects(motions: HeldOutMotions, params: Params, workspace: Workspace) -> HeldOutObjects:
    """Return what generates objects from videos alone."""
    pipeline, sampling = motions.pipeline, params.sample
    decoder = pipeline.vae.static.decoder
    networks = ImageToCanonical.from_pretrained(workspace.image_to_3d, device=pipeline.device, decoder=decoder)
    flows = (FlowSampling.of(part).settings() for part in (sampling.structure, sampling.latents))
    return HeldOutObjects(networks, motions, *flows)


def _generate(
    motions: HeldOutMotions, canonicals: dict[str, Canonical]
) -> tuple[dict[str, Tensor | Rejected], list[int], list[int]]:
    """Return a batch's variation fields by clip, the network calls per clip and per batch.

    If the batch fails, its clips are retried one by one, so that only the clip that causes the failure is rejected.
    """
    clips = list(canonicals)
    if not clips:
        return {}, [], []
    together = attempt(clips[0], motions.generate, clips, list(canonicals.values()))
    if not isinstance(together, Rejected):
        return dict(zip(clips, together.fields)), together.nfe, [together.num_calls]
    if len(clips) == 1:
        return {clips[0]: together}, [], []
    by_clip: dict[str, Tensor | Rejected] = {}
    needed_calls, calls = [], []
    for clip, canonical in canonicals.items():
        field, needed, num_calls_alone = _generate(motions, {clip: canonical})
        by_clip |= field
        needed_calls += needed
        calls += num_calls_alone
    return by_clip, needed_calls, calls


def _now(device: torch.device) -> float:
    """Return the time in seconds, after the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()


def _log_example(workspace: Workspace, clip: str, gaussians: Gaussians, size: int) -> None:
    """Write one generated clip as an asset with its page, and as a short video from all sides, and log them."""
    player = ClipPlayer.of(workspace, clip, gaussians, {})
    with fresh_directory(workspace.turntables) as folder:
        write_video(folder / f"{clip}.mp4", turntable(gaussians, size, TURNTABLE_IMAGES), TURNTABLE_RATE)
        (folder / clip).mkdir()
        (folder / clip / ASSET_NAME).write_bytes(player.asset)
        player.write_page(folder / clip / PAGE_NAME)
    tracking.log_video(workspace.turntables / f"{clip}.mp4")
    tracking.log_folder(workspace.turntables / clip, f"assets/{clip}")


@torch.no_grad()
def _draw(gaussians: Gaussians, views, device: torch.device) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Render Gaussians [T, N, ...] over white from cameras [V, ...]; return uint8 [T, V, H, W, 3]."""
    size = views.rgba.shape[-2]
    rgb = draw_gaussians(gaussians, views.viewmats.to(device), views.Ks.to(device), size)
    return (rgb.clamp(0, 1) * 255.0).round().byte().cpu().numpy()
