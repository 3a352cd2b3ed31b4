"""Measure motions of videos that are longer than the training clips: in one piece, and in segments, autoregressively (D.1) or not.

Held-out clips of a workspace whose pipeline has run are baked again at any number of frames, over one cycle (denser in time
than in training) or several (at the training's spacing), and rendered from the front. Errors are distances of Gaussians from where
the mesh takes them (Eq. 4), as a share of how far they really move: 0 is perfect, 1 is no motion at all.

    python benchmarks/long_video.py lengths --workspace DIR [--frames 8 15 24] [--clips 24] [--from last] [--output FILE.json]
    python benchmarks/long_video.py drift --workspace DIR --frames 120 [--cycles 5] [--clips 6] [--segment 24]
        [--from last] [--shared-noise 0] [--candidates 1] [--output FILE.json]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gvf.data.clips import accepted_clips, load_features
from gvf.data.gltf.baking import bake_clip, clip_times, load_model
from gvf.data.gltf.document import read_gltf
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.geometry.sampling import sample_surface
from gvf.pipelines.animate_mesh import canonical_from_features
from gvf.pipelines.candidate_fit import fit_of
from gvf.pipelines.handles import Handles
from gvf.pipelines.motion import Motion, MotionSettings, generate_motion
from gvf.pipelines.motion_generator import Generated, MotionGenerator
from gvf.rendering.mesh_views import MeshRenderer
from gvf.storage.files import write_json
from gvf.workspace import Workspace

CAMERA = OrbitCamera(0.0, 0.0, 2.0, 49.1)
SAMPLES = 2
NUM_POINTS = 4096


@dataclass(frozen=True)
class Film:
    """A video of a known motion. frames: [T, S, S, 4] uint8; canonical: Gaussians [N]; displacements: [T, N, 3] of them."""

    frames: Tensor
    canonical: Gaussians
    displacements: Tensor


class Clips:
    """The held-out clips of a workspace, at any number of frames."""

    def __init__(self, workspace: Workspace, generator: MotionGenerator) -> None:
        self.workspace, self.generator = workspace, generator
        clips = accepted_clips(workspace, workspace.features)
        self.rows = clips[clips["split"] == "held_out"]

    def names(self, count: int) -> list[str]:
        """Return the ids of some clips, spread over all of them."""
        ids = self.rows["clip_id"].tolist()
        chosen = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int))
        return [ids[index] for index in chosen]

    def film(self, clip: str, num_frames: int, cycles: int) -> Film:
        """Return a clip played `cycles` times in `num_frames` frames, from its first frame to its last."""
        row = self.rows[self.rows["clip_id"] == clip].iloc[0]
        model = load_model(read_gltf(self.workspace.raw / row["asset"]), max_texture_size=1024)
        animation = model.animation(int(row["animation_index"]))
        span = animation.end - animation.start
        trained = bake_clip(model, animation, clip_times(animation, self.generator.index.training.frames))
        phases = np.linspace(0.0, cycles, num_frames)
        phases[1:] = np.where(phases[1:] % 1.0 < 1e-9, 1.0, phases[1:] % 1.0)
        mesh = bake_clip(model, animation, animation.start + span * phases)
        vertices = in_the_box_of(mesh.vertices, trained.vertices)
        size = self.generator.index.image_encoder.preprocessing.size
        renderer = MeshRenderer(mesh)
        frames = [renderer.render(shape, CAMERA.viewmat[None], CAMERA.K[None], size, SAMPLES)[0] for shape in vertices]
        features = load_features(self.workspace, clip)
        canonical = canonical_from_features(self.generator.vae, features["voxel_features"], features["voxels"])
        generator = np.random.default_rng(0)
        points = sample_surface(vertices[0], mesh.faces, NUM_POINTS, generator).positions(vertices, mesh.faces)
        moving = torch.from_numpy(np.concatenate([points[:1], points])).float()
        displacements = self.generator.vae.motion(canonical, moving.unsqueeze(0)).interpolated[0]
        return Film(torch.from_numpy(np.stack(frames)), canonical.clip(0), displacements)


def in_the_box_of(vertices: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return vertices [T, V, 3] in the axes and the unit box that `AnimatedMesh.normalized` gives others [T', V, 3]."""
    turned, reference = (values[..., [0, 2, 1]] * (1.0, -1.0, 1.0) for values in (vertices, others))
    low, high = reference.min((0, 1)), reference.max((0, 1))
    return ((turned - (low + high) / 2) / (high - low).max()).astype(np.float32)


def error_of(motion: Motion, film: Film) -> np.ndarray:
    """Return the RMS distance [T] of the Gaussians from the truth in every frame, object units."""
    found = motion.gaussians.means - film.canonical.means
    return (found - film.displacements).square().sum(-1).mean(-1).sqrt().numpy()


def moved(film: Film) -> float:
    """Return the RMS displacement over the whole film, object units."""
    return film.displacements.square().sum(-1).mean().sqrt().item()


def lengths(clips: Clips, options: argparse.Namespace) -> dict[str, Any]:
    """Compare one piece with segments of the training length, for several lengths and both kinds of long video."""
    trained = clips.generator.index.training.frames
    cases = [
        (frames, cycles, segment)
        for frames in options.frames
        for cycles in sorted({1, round((frames - 1) / (trained - 1))})
        for segment in sorted({frames, trained, 2 * trained - 1})
        if segment <= frames
    ]
    rows = []
    print(f"{'frames':>6} {'cycles':>6} {'segment':>7} {'error':>7} {'last':>7}  seconds")
    for frames, cycles, segment in cases:
        errors, lasts, seconds = [], [], []
        for clip in clips.names(options.clips):
            film = clips.film(clip, frames, cycles)
            for seed in range(options.seeds):
                settings = MotionSettings(seed=seed, segment_frames=segment, segments_from=options.origin)
                motion = generate_motion(clips.generator, film.frames, film.canonical, CAMERA, settings)
                errors.append(np.sqrt(np.square(error_of(motion, film)).mean()) / moved(film))
                lasts.append(error_of(motion, film)[-1] / moved(film))
                seconds.append(motion.seconds)
        row = {"frames": frames, "cycles": cycles, "segment": segment}
        row |= {"error": np.mean(errors), "last": np.mean(lasts), "seconds": np.mean(seconds)}
        rows.append({name: float(value) for name, value in row.items()})
        print(
            f"{frames:>6} {cycles:>6} {segment:>7} {row['error']:>7.3f} {row['last']:>7.3f}  {row['seconds']:.2f}",
            flush=True,
        )
    return {"rows": rows}


class Watched(MotionGenerator):
    """Notes for every segment what the process takes in memory, and how far the static tokens are from those of the training."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.peaks: list[int] = []
        self.static_rms: list[float] = []

    def generate_with(self, handles: Sequence[Handles], *arguments: Any, **more: Any) -> Generated:
        self.static_rms.append(self.statistics.normalize_static(handles[0].static).square().mean().sqrt().item())
        made = super().generate_with(handles, *arguments, **more)
        self.peaks.append(memory("VmHWM"))
        Path("/proc/self/clear_refs").write_text("5")  # the next segment's peak begins here
        return made


def memory(name: str) -> int:
    """Return a value of this process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def drift(clips: Clips, generator: Watched, options: argparse.Namespace) -> dict[str, Any]:
    """Generate long videos in segments of the training length; look at memory, seams and the distance from the truth."""
    rows = []
    for clip in clips.names(options.clips):
        generator.peaks, generator.static_rms = [], []
        film = clips.film(clip, options.frames[0], options.cycles)
        settings = MotionSettings(
            segment_frames=options.segment,
            segments_from=options.origin,
            shared_noise=options.shared_noise,
            candidates=options.candidates,
        )
        motion = generate_motion(generator, film.frames, film.canonical, CAMERA, settings)
        errors = error_of(motion, film) / moved(film)
        seams = np.array([segment.start for segment in motion.segments[1:]])
        found, true = step_lengths(motion.gaussians.means), step_lengths(film.displacements)
        is_seam = np.isin(np.arange(len(found)), seams - 1)  # into the first new frame of a segment
        starts = [segment.start for segment in motion.segments] + [options.frames[0] - 1]
        bends = [
            np.sqrt(np.square(np.diff(found_or_true, 2, axis=0)).sum(-1).mean())
            for found_or_true in positions(motion, film)
        ]
        rows.append(
            {
                "clip": clip,
                "segments": len(motion.segments),
                "steps_at_seams": float(found[is_seam].mean() / true[is_seam].mean()) if is_seam.any() else None,
                "steps_elsewhere": float(found[~is_seam].mean() / true[~is_seam].mean()),
                "acceleration": float(bends[0] / bends[1]),
                "errors_at_starts": errors[starts].tolist(),
                "error": float(np.sqrt(np.square(errors).mean())),
                "fit": vars(fit_of(motion.gaussians, film.frames, CAMERA)),
                "static_rms": generator.static_rms,
                "peak_mb": [round(peak / 1e6, 1) for peak in generator.peaks],
                "seconds": motion.seconds,
            }
        )
        row = rows[-1]
        print(
            f"{clip:<24} error {row['error']:.2f}, by segment {' '.join(f'{value:.2f}' for value in row['errors_at_starts'])}; "
            f"steps at seams {row['steps_at_seams'] or np.nan:.2f}, elsewhere {row['steps_elsewhere']:.2f}, acceleration "
            f"{row['acceleration']:.2f} of the truth; "
            f"static tokens {row['static_rms'][0]:.2f} -> {row['static_rms'][-1]:.2f}; "
            f"MB {' '.join(f'{value:.0f}' for value in row['peak_mb'])}; {row['seconds']:.0f} s",
            flush=True,
        )
    return {"rows": rows}


def positions(motion: Motion, film: Film) -> tuple[np.ndarray, np.ndarray]:
    """Return where the Gaussians are, and where they should be, [T, N, 3] each."""
    return motion.gaussians.means.numpy(), (film.canonical.means + film.displacements).numpy()


def step_lengths(positions: Tensor) -> np.ndarray:
    """Return the RMS distance [T - 1] that points [T, N, 3] go from each frame to the next."""
    return (positions[1:] - positions[:-1]).square().sum(-1).mean(-1).sqrt().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("mode", choices=("lengths", "drift"))
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--frames", type=int, nargs="+", default=[8, 15, 24])
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cycles", type=int, default=5)
    parser.add_argument("--segment", type=int)
    parser.add_argument("--candidates", type=int, default=1)
    parser.add_argument("--from", dest="origin", choices=("last", "first"), default="last")
    parser.add_argument("--shared-noise", type=float, default=0.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    workspace = Workspace(options.workspace)
    generator = Watched.from_pretrained(workspace.generator, local_files_only=True)
    clips = Clips(workspace, generator)
    report = lengths(clips, options) if options.mode == "lengths" else drift(clips, generator, options)
    if options.output:
        write_json(options.output, report)


if __name__ == "__main__":
    main()
