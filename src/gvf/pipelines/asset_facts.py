"""Manifest of an asset: its video, canonical object, camera, motion and generator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from gvf.pipelines import asset_manifest as manifest
from gvf.pipelines.alignment import Alignment
from gvf.pipelines.canonical import CanonicalObject
from gvf.pipelines.generator_source import UNSTATED, describe_generator
from gvf.pipelines.motion import Motion
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.progress import Stopwatch
from gvf.text import MAX_NAME, clean
from gvf.tracking.provenance import device_name
from gvf.video.input_video import InputVideo


def record(
    generator: MotionGenerator,
    video: InputVideo,
    canonical: CanonicalObject,
    alignment: Alignment,
    motion: Motion,
    settings: Mapping[str, object],
    watch: Stopwatch,
) -> manifest.Manifest:
    """Return the manifest of an asset made of these parts.

    settings: dataclasses of what the user chose, by name. watch: seconds and warnings so far.
    """
    return manifest.Manifest(
        created=manifest.now(),
        num_frames=len(motion.gaussians.means),
        num_gaussians=motion.gaussians.num_gaussians,
        frames_per_second=video.frames_per_second,
        times=tuple(video.times.tolist()),
        camera=manifest.CameraFacts.of(alignment.camera),
        alignment=_alignment(alignment),
        video=_video(video),
        canonical=_canonical(canonical),
        motion=_motion(motion),
        generator=_generator(generator),
        settings={name: _settings(values) for name, values in settings.items()},
        device=device_name(generator.device.type),
        versions=manifest.versions(),
        seconds={name: round(seconds, 3) for name, seconds in watch.seconds.items()},
        warnings=tuple(watch.warnings),
    )


def _settings(values: Any) -> dict[str, str | float | int | bool | None]:
    """Return the plain values among the fields of a dataclass; paths by their names."""
    found: dict[str, str | float | int | bool | None] = {}
    for name, value in vars(values).items():
        if isinstance(value, PurePath):
            found[name] = clean(value.name, MAX_NAME)
        elif isinstance(value, str | float | int | bool) or value is None:
            found[name] = value
    return found


def _alignment(alignment: Alignment) -> manifest.AlignmentFacts:
    rivals = tuple(rival.azimuth for rival in alignment.rivals)
    return manifest.AlignmentFacts(confidence=alignment.confidence, ambiguous=alignment.ambiguous, rivals=rivals)


def _video(video: InputVideo) -> manifest.VideoFacts:
    crops = [(left, top, side) for left, top, side in video.crops.tolist()]
    return manifest.VideoFacts(
        name=video.name,
        size=video.source_size,
        matting=video.matting,
        crops=tuple(crops if len(set(crops)) > 1 else crops[:1]),
        findings=tuple(
            manifest.FindingFacts(code=one.code, message=one.message, frames=one.frames) for one in video.findings
        ),
    )


def _canonical(canonical: CanonicalObject) -> manifest.CanonicalFacts:
    to_file = manifest.SimilarityFacts(**vars(canonical.to_file))
    return manifest.CanonicalFacts(
        origin=canonical.origin,
        file=canonical.name or None,
        sha256=canonical.sha256 or None,
        clip=canonical.clip and clean(canonical.clip, MAX_NAME),
        to_file=to_file,
    )


def _motion(motion: Motion) -> manifest.MotionFacts:
    return manifest.MotionFacts(
        seed=motion.segments[0].candidates[0].seed,
        sampling=motion.sampling.model_dump(),
        segments=tuple((segment.start, segment.stop) for segment in motion.segments),
        candidates=tuple(
            manifest.CandidateFacts(
                segment=index,
                seed=candidate.seed,
                color_error=candidate.fit.color_error,
                iou=candidate.fit.iou,
                chosen=number == segment.chosen,
            )
            for index, segment in enumerate(motion.segments)
            for number, candidate in enumerate(segment.candidates)
            if candidate.fit is not None
        ),
        refinements=tuple(
            manifest.RefinementFacts(segment=index, color_error=segment.refined.color_error, iou=segment.refined.iou)
            for index, segment in enumerate(motion.segments)
            if segment.refined is not None
        ),
        network_calls=motion.nfe,
    )


def _generator(generator: MotionGenerator) -> manifest.GeneratorFacts:
    title = generator.index.title
    if generator.folder is None:
        return manifest.GeneratorFacts(name=title, sha256=None, licence=UNSTATED)
    return describe_generator(generator.folder, title)
