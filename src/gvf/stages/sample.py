"""Stage `sample`: moving Gaussians for held-out clips, generated and reconstructed, with the references beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from gvf.config.execution import ExecutionConfig
from gvf.config.params import Params
from gvf.data.clips import clip_ids
from gvf.data.failures import Failure, demand_some, write_failures
from gvf.data.rejections import record_rejections
from gvf.devices import resolve_device
from gvf.execution.clip_map import Rejected, attempt
from gvf.execution.look_ahead import look_ahead
from gvf.gaussians.gaussians import Gaussians
from gvf.methods import DIT, REFINED, SHAPES, SPLIT, VAE, VIDEO_ONLY
from gvf.models.variation.joint_vae import Canonical, JointVAE
from gvf.pipelines.asset_files import ASSET_NAME, PAGE_NAME
from gvf.pipelines.clip_player import ClipPlayer
from gvf.pipelines.generator_folder import generator_digest
from gvf.pipelines.generator_index import Sampling
from gvf.pipelines.held_out_clips import ClipSampler, SampledClip, now
from gvf.pipelines.held_out_motions import GeneratedMotion, HeldOutMotions, canonical_of_clip
from gvf.pipelines.held_out_objects import HeldOutObjects
from gvf.pipelines.held_out_shapes import HeldOutShapes
from gvf.pipelines.image_to_canonical import ImageToCanonical
from gvf.pipelines.image_to_canonical_index import FlowSampling
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.rendering.turntable import turntable
from gvf.storage.files import fresh_directory, write_json
from gvf.tracking import client as tracking
from gvf.tracking.provenance import device_name
from gvf.video.writing import write_video
from gvf.workspace import Workspace

TURNTABLE_IMAGES, TURNTABLE_RATE = 48, 12  # once around in four seconds


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Render `static`, `interpolated` and the configured methods for every held-out clip in the eval views.

    Canonical Gaussians come from the mesh (A.3), the motions of `dit` and `refined` from the frontal video alone; of `video`,
    both come from the video. A method that fails on a clip is listed in `failures.json`; a reference that fails rejects the
    clip. The returned metric `seconds_per_clip` is the time per batch divided by its clips, without the refinement,
    `network_calls_per_clip` the mean number that a clip needs, and `network_calls_per_batch` the number of network calls per
    batch, which its slowest clip determines. The other times per clip are wall-clock times while `clips_at_once` clips are
    sampled. This number, the device, the batch size and the generator's digest are written to `generation.json`.
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
    shapes = None if objects is None else HeldOutShapes.of(objects, clips)
    sampler = ClipSampler(vae, workspace, motions, shapes, methods, device)
    threads = _threads(params.execution, device)
    results: list[_Values | Rejected] = []
    needed_calls, calls, seconds = [], [], []
    with fresh_directory(workspace.predictions) as folder, tqdm(total=len(clips), desc="sample", unit="clip") as bar:
        batch_size = min(params.sample.batch_size, len(clips))
        generation = {
            "device": device_name(device.type),
            "batch_size": batch_size,
            "clips_at_once": max(1, threads),
            "generator_sha256": None if motions is None else generator_digest(workspace.generator),
        }
        write_json(folder / workspace.generation.name, generation)
        for start in range(0, len(clips), params.sample.batch_size):
            group = clips[start : start + params.sample.batch_size]
            canonicals = {clip: attempt(clip, canonical_of_clip, vae, workspace, clip, device) for clip in group}
            generated: dict[str, GeneratedMotion | Rejected] = {}
            if motions is not None:
                began = now(device)
                sound = {clip: value for clip, value in canonicals.items() if not isinstance(value, Rejected)}
                generated, needed, num_calls = _generate(motions, sound)
                seconds.append((now(device) - began) / len(group))
                needed_calls += needed
                calls += num_calls
            jobs = [(clip, canonical, generated.get(clip)) for clip, canonical in canonicals.items()]
            with closing(look_ahead(lambda job: _sample_clip(sampler, folder, *job), jobs, threads)) as sampled:
                for clip, one in zip(canonicals, sampled):
                    bar.update()
                    if isinstance(one, SampledClip) and not any(isinstance(result, _Values) for result in results):
                        last = [drawn for name, drawn in one.drawn.items() if name not in SPLIT][-1]
                        _log_example(workspace, clip, last.moving, last.images.shape[-2])
                    results.append(one if isinstance(one, Rejected) else _Values.of(one))
        rejected = record_rejections(folder, "sample", results, after=before)
        done = [result for result in results if isinstance(result, _Values)]
        for name in methods:
            demand_some(name, [one.failures.get(name) for one in done])
        failures = [Failure.of(name, lost) for one in done for name, lost in one.failures.items()]
        write_failures(folder, failures)
        if shapes is not None:
            _write_shapes(workspace, folder / workspace.shapes.name, shapes, done)
    metrics = {"clips": float(len(done)), "rejected": float(rejected), "failures": float(len(failures))}
    for moved in (name for name in (VAE, DIT, REFINED) if name in methods):
        errors = [one.errors[moved] for one in done if moved in one.errors]
        metrics[f"{moved}_displacement_error"] = float(np.mean(errors))
    metrics["drawing_seconds_per_clip"] = float(np.mean([one.drawing_seconds for one in done]))
    if REFINED in methods:
        metrics["refinement_seconds_per_clip"] = float(np.mean([one.refinement_seconds for one in done]))
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
    """Values measured on one clip, see `SampledClip`."""

    failures: Mapping[str, Rejected]
    shape_failures: Mapping[str, Rejected]
    errors: Mapping[str, float]
    drawing_seconds: float
    object_seconds: float
    refinement_seconds: float

    @classmethod
    def of(cls, sampled: SampledClip) -> _Values:
        """Return the values of a clip without its images and Gaussians."""
        return cls(
            sampled.failures,
            {} if sampled.shapes is None else sampled.shapes.failures,
            sampled.errors,
            sampled.drawing_seconds,
            sampled.object_seconds,
            sampled.refinement_seconds,
        )


def _threads(execution: ExecutionConfig, device: torch.device) -> int:
    """Return in how many threads clips are sampled beside this one; 0: one after the other, in this thread.

    The networks are in this process, and torch computes without holding the GIL, so that threads have what processes would copy.
    Each computes with torch's own threads, and together they need not have more than there are cores.
    """
    if device.type != "cpu" or execution.executor == "inline":
        return 0
    useful = min(execution.workers, (os.cpu_count() or 1) // torch.get_num_threads())
    return useful if useful > 1 else 0


def _sample_clip(
    sampler: ClipSampler,
    folder: Path,
    clip: str,
    canonical: Canonical | Rejected,
    generated: GeneratedMotion | Rejected | None,
) -> SampledClip | Rejected:
    """Sample and write one clip."""
    if isinstance(canonical, Rejected):
        return canonical
    sampled = attempt(clip, sampler.sample, clip, canonical, generated)
    if isinstance(sampled, Rejected):
        return sampled
    sampled.write(folder, clip)
    if sampled.shapes is not None:
        sampled.shapes.write(folder / sampler.workspace.shapes.name, clip)
    return sampled


def _write_shapes(workspace: Workspace, folder: Path, shapes: HeldOutShapes, done: Sequence[_Values]) -> None:
    """Write what is known of the shapes of all clips: the nearest training images, and the methods that failed."""
    for name in SHAPES:
        demand_some(name, [one.shape_failures.get(name) for one in done])
    write_failures(folder, [Failure.of(name, lost) for one in done for name, lost in one.shape_failures.items()])
    write_json(folder / workspace.nearest_images.name, {clip: asdict(found) for clip, found in shapes.nearest.items()})


def _objects(motions: HeldOutMotions, params: Params, workspace: Workspace) -> HeldOutObjects:
    """Return what generates objects from videos alone."""
    pipeline, sampling = motions.pipeline, params.sample
    decoder = pipeline.vae.static.decoder
    networks = ImageToCanonical.from_pretrained(workspace.image_to_3d, device=pipeline.device, decoder=decoder)
    flows = (FlowSampling.of(part).settings() for part in (sampling.structure, sampling.latents))
    return HeldOutObjects(networks, motions, *flows)


def _generate(
    motions: HeldOutMotions, canonicals: dict[str, Canonical]
) -> tuple[dict[str, GeneratedMotion | Rejected], list[int], list[int]]:
    """Return a batch's motions by clip, the network calls per clip and per batch.

    If the batch fails, its clips are retried one by one, so that only the clip that causes the failure is rejected.
    """
    clips = list(canonicals)
    if not clips:
        return {}, [], []
    together = attempt(clips[0], motions.generate, clips, list(canonicals.values()))
    if not isinstance(together, Rejected):
        made = map(GeneratedMotion, together.fields, together.latents)
        return dict(zip(clips, made)), together.nfe, [together.num_calls]
    if len(clips) == 1:
        return {clips[0]: together}, [], []
    by_clip: dict[str, GeneratedMotion | Rejected] = {}
    needed_calls, calls = [], []
    for clip, canonical in canonicals.items():
        one, needed, num_calls_alone = _generate(motions, {clip: canonical})
        by_clip |= one
        needed_calls += needed
        calls += num_calls_alone
    return by_clip, needed_calls, calls


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
