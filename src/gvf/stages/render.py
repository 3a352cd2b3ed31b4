"""Stage `render`: images of every accepted clip with their cameras. Writes `data/renders/<clip_id>.npz`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gvf.config.render import RenderConfig
from gvf.data.clips import accepted_clips
from gvf.data.manifest import HELD_OUT
from gvf.data.mesh import AnimatedMesh
from gvf.data.rejections import record_rejections
from gvf.errors import StageError
from gvf.execution.clip_map import Rejected, map_clips
from gvf.geometry.camera import CONSISTENT4D_ORBIT, intrinsics, orbit, sphere_hammersley
from gvf.rendering.mesh_views import MeshRenderer
from gvf.storage.files import fresh_directory, load_npz, save_npz
from gvf.tracking import client as tracking
from gvf.training.randomness import derive_seed
from gvf.video.filming import Filming, draw_filming
from gvf.workspace import Workspace

if TYPE_CHECKING:
    from gvf.config.params import Params

TRAIN_ELEVATIONS = (-15.0, 45.0)  # release, data rendering: about this range
VIDEO_AZIMUTHS, VIDEO_ELEVATIONS = (-25.0, 25.0), (-15.0, 15.0)  # release: augmented conditioning renders
IMAGE_ELEVATIONS = (-10.0, 0.0, 40.0)  # lowest, most frequent, highest
IMAGE_FOVS = (
    20.0,
    60.0,
)  # release: of augmented conditioning renders, with the distance that shows a unit cube as a whole
_SHEET_CLIPS = 8


@dataclass(frozen=True)
class Cameras:
    """viewmats: [..., 4, 4] and Ks: [..., 3, 3] of one kind of view."""

    viewmats: np.ndarray
    Ks: np.ndarray


@dataclass(frozen=True)
class RenderTask:
    """One clip to be rendered into `folder`. path: its baked mesh."""

    path: Path
    held_out: bool
    folder: Path
    config: RenderConfig
    seed: int


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Render every accepted clip. Raises UserError if the curated manifest is missing, StageError if every clip fails."""
    clips = accepted_clips(workspace)
    if clips.empty:
        raise StageError(f"{workspace.curated_manifest}: no accepted clip; see its column `reason`.")
    with fresh_directory(workspace.renders) as folder:
        tasks = [
            RenderTask(workspace.curated / f"{clip_id}.npz", split == HELD_OUT, folder, params.render, params.run.seed)
            for clip_id, split in zip(clips["clip_id"], clips["split"])
        ]
        results = map_clips(render_clip_views, tasks, params.execution, "render", lambda task: task.path.stem)
        rejected = record_rejections(folder, "render", results)
        coverages = {task.path.stem: result for task, result in zip(tasks, results) if not isinstance(result, Rejected)}
        rendered = list(coverages)
        shown = np.unique(np.linspace(0, len(rendered) - 1, _SHEET_CLIPS).round().astype(int))
        tracking.log_figure("videos", contact_sheet([folder / f"{rendered[i]}.npz" for i in shown]))
        megabytes = sum(path.stat().st_size for path in folder.glob("*.npz")) / 1e6
    return {
        "clips": float(len(rendered)),
        "rejected": float(rejected),
        "mean_coverage": float(np.mean(list(coverages.values()))),
        "megabytes": megabytes,
    }


def render_clip_views(task: RenderTask) -> float:
    """Render one clip; returns the mean alpha of its images."""
    mesh = AnimatedMesh.load(task.path)
    generator = np.random.default_rng(derive_seed(task.seed, "render", task.path.stem))
    cameras = plan_cameras(task.config, mesh.num_frames, task.held_out, generator)
    images = render_kinds(mesh, cameras, task.config.image_size, task.config.samples)
    if task.config.video_variation is not None and not task.held_out:
        vary_videos(images["video"], mesh, cameras["video"], task)
    cameras["image"] = image_cameras(cameras["video"], 1 if task.held_out else task.config.image_views, task)
    images["image"] = draw_images(images["video"][0, 0], mesh, cameras["image"], task)
    arrays: dict[str, np.ndarray] = {}
    for kind, chosen in cameras.items():
        arrays[f"{kind}_rgba"] = images[kind]
        arrays[f"{kind}_viewmats"] = chosen.viewmats.astype(np.float32)
        arrays[f"{kind}_Ks"] = chosen.Ks.astype(np.float32)
    save_npz(task.folder / f"{task.path.stem}.npz", **arrays)
    return float(np.mean([image[..., 3].mean() / 255.0 for image in images.values()]))


def plan_cameras(
    config: RenderConfig, num_frames: int, held_out: bool, generator: np.random.Generator
) -> dict[str, Cameras]:
    """Return the cameras of a clip by kind.

    `canonical` [V] of frame 0; `video` [A] of every frame, the frontal one first; for training clips `train` [T, V],
    other ones in every frame; for held-out clips `eval` [4] of every frame.
    """
    offset = (float(generator.random()), float(generator.random()))
    azimuths, elevations = sphere_hammersley(config.canonical_views, offset)
    cameras = {"canonical": _cameras(azimuths, elevations, config.radius, config.view_fov)}
    if held_out:
        cameras["video"] = _cameras(np.zeros(1), np.zeros(1), config.radius, config.video_fov)
        azimuths, elevations = (
            np.array(CONSISTENT4D_ORBIT.azimuths),
            np.full(len(CONSISTENT4D_ORBIT.azimuths), CONSISTENT4D_ORBIT.elevation),
        )
        cameras["eval"] = _cameras(azimuths, elevations, CONSISTENT4D_ORBIT.radius, CONSISTENT4D_ORBIT.fov)
        return cameras
    azimuths = np.r_[0.0, generator.uniform(*VIDEO_AZIMUTHS, config.videos - 1)]
    elevations = np.r_[0.0, generator.uniform(*VIDEO_ELEVATIONS, config.videos - 1)]
    cameras["video"] = _cameras(azimuths, elevations, config.radius, config.video_fov)
    shape = (num_frames, config.train_views)
    azimuths, elevations = generator.uniform(-180.0, 180.0, shape), generator.uniform(*TRAIN_ELEVATIONS, shape)
    cameras["train"] = _cameras(azimuths, elevations, config.radius, config.view_fov)
    return cameras


def render_kinds(mesh: AnimatedMesh, cameras: dict[str, Cameras], size: int, samples: int) -> dict[str, np.ndarray]:
    """Return uint8 RGBA by kind: canonical [V, H, W, 4], video [A, T, ...], others [T, V, ...]."""
    renderer = MeshRenderer(mesh)
    images: dict[str, list[np.ndarray]] = {kind: [] for kind in cameras}
    for frame in range(mesh.num_frames):
        chosen = {
            kind: Cameras(c.viewmats[frame], c.Ks[frame]) if kind == "train" else c
            for kind, c in cameras.items()
            if kind != "canonical" or frame == 0
        }
        viewmats = np.concatenate([c.viewmats for c in chosen.values()])
        Ks = np.concatenate([c.Ks for c in chosen.values()])
        drawn = renderer.render(mesh.vertices[frame], viewmats, Ks, size, samples)
        ends = np.cumsum([len(c.viewmats) for c in chosen.values()])
        for kind, part in zip(chosen, np.split(drawn, ends[:-1])):
            images[kind].append(part)
    axes = {"canonical": 0, "video": 1}
    stacked = {kind: np.stack(frames, axis=axes.get(kind, 0)) for kind, frames in images.items()}
    return stacked | {"canonical": stacked["canonical"][0]}


def image_cameras(video: Cameras, count: int, task: RenderTask) -> Cameras:
    """Return the cameras [count] of frame 0 that image-to-3D networks learn from: the first one of `video`, then random ones."""
    generator = np.random.default_rng(derive_seed(task.seed, "images", task.path.stem))
    azimuths = generator.uniform(-180.0, 180.0, count - 1)
    elevations, fovs = generator.triangular(*IMAGE_ELEVATIONS, count - 1), generator.uniform(*IMAGE_FOVS, count - 1)
    radii = 0.5 * np.sqrt(3.0) / np.sin(np.deg2rad(fovs) / 2.0)
    viewmats, Ks = orbit(azimuths, elevations, radii), intrinsics(fovs)
    return Cameras(np.concatenate([video.viewmats[:1], viewmats]), np.concatenate([video.Ks[:1], Ks]))


def draw_images(first: np.ndarray, mesh: AnimatedMesh, cameras: Cameras, task: RenderTask) -> np.ndarray:
    """Return uint8 RGBA [V, H, W, 4] of frame 0: `first`, which exists, then those of the other cameras, a share with flaws."""
    config, renderer = task.config, MeshRenderer(mesh)
    others = Cameras(cameras.viewmats[1:], cameras.Ks[1:])
    images = renderer.render(mesh.vertices[0], others.viewmats, others.Ks, config.image_size, config.samples)
    if config.video_variation is not None:
        generator = np.random.default_rng(derive_seed(task.seed, "film images", task.path.stem))
        for index, (viewmat, K) in enumerate(zip(others.viewmats, others.Ks)):
            varied, filming = (
                generator.random() < config.video_variation.share,
                draw_filming(config.video_variation, 1, generator),
            )
            if varied:
                images[index] = filmed(filming, renderer, mesh.vertices[:1], viewmat, K, config)[0]
    return np.concatenate([first[None], images])


def vary_videos(videos: np.ndarray, mesh: AnimatedMesh, cameras: Cameras, task: RenderTask) -> None:
    """Film a share of the videos [A, T, H, W, 4] again with flaws, in place; the recorded cameras stay the same."""
    config, renderer = task.config.video_variation, MeshRenderer(mesh)
    assert config is not None, "called only where videos are varied"
    generator = np.random.default_rng(derive_seed(task.seed, "film", task.path.stem))
    for video, viewmat, K in zip(videos, cameras.viewmats, cameras.Ks):
        varied, filming = generator.random() < config.share, draw_filming(config, len(video), generator)
        if varied:
            video[:] = filmed(filming, renderer, mesh.vertices, viewmat, K, task.config)


def filmed(
    filming: Filming,
    renderer: MeshRenderer,
    frames: np.ndarray,
    viewmat: np.ndarray,
    K: np.ndarray,
    config: RenderConfig,
) -> np.ndarray:
    """Return uint8 RGBA [T, H, W, 4] of an object's frames [T, V, 3], filmed with flaws by a camera recorded as given."""
    drawn = []
    for vertices, own, own_K in zip(frames, *filming.cameras(viewmat, K)):
        turned, placed = filming.relit(vertices, own)
        drawn.append(renderer.render(turned, placed[None], own_K[None], config.image_size, config.samples)[0])
    return filming.developed(np.stack(drawn))


def contact_sheet(paths: list[Path]) -> np.ndarray:
    """Return uint8 [H, W, 3]: a row of frames of the frontal video for each rendered clip, on white."""
    rows = []
    for path in paths:
        rgba = load_npz(path, ["video_rgba"])["video_rgba"][0]
        alpha = rgba[..., 3:] / 255.0
        on_white = rgba[..., :3] * alpha + 255.0 * (1.0 - alpha)
        rows.append(np.concatenate(list(on_white.round().astype(np.uint8)), axis=1))
    width = max(row.shape[1] for row in rows)  # held-out clips may have more frames than training clips
    return np.concatenate(
        [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    )


def _cameras(azimuths: np.ndarray, elevations: np.ndarray, radius: float, fov: float) -> Cameras:
    return Cameras(orbit(azimuths, elevations, radius), intrinsics(np.full(azimuths.shape, fov)))
