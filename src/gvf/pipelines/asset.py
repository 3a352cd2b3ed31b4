"""An animated 3D asset: Gaussians over time, the camera of the video that they were made from, and how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gvf.data.mesh import AnimatedMesh
from gvf.errors import UserError
from gvf.formats.asset_glb import load_asset_glb, save_asset_glb
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.ply import load_ply, save_ply
from gvf.geometry.camera import OrbitCamera
from gvf.pipelines import asset_files as files
from gvf.pipelines.asset_manifest import Manifest, as_facts, read_manifest
from gvf.pipelines.canonical import CanonicalObject
from gvf.pipelines.mesh_motion import follow, save_mesh_animation
from gvf.progress import Progress, Stopwatch
from gvf.rendering.convention import WHITE
from gvf.rendering.mesh_views import MeshRenderer
from gvf.rendering.splats import draw_gaussians
from gvf.rendering.turntable import turntable, turntable_length
from gvf.storage.files import PathLike, fresh_directory
from gvf.video.contact_sheet import contact_sheet
from gvf.video.input_video import InputVideo
from gvf.viewer.page import write_page

_FRAMES_AT_ONCE = 8  # rendered together
_SAMPLES = 2  # of the mesh along each side of a pixel


@dataclass(frozen=True)
class Asset4D:
    """An animated object as Gaussians [T, N] in its own axes (z up, inside a box of side 1 around the origin).

    canonical: Gaussians [N] before they were moved. `camera` is that of the video's square crop, so that renders from there
    lie over the video. video, model: the input; both are known only while the asset is being made, and are not read back
    from a folder.
    """

    gaussians: Gaussians
    canonical: Gaussians
    manifest: Manifest
    video: InputVideo | None = None
    model: CanonicalObject | None = None

    @property
    def frames(self) -> Sequence[Gaussians]:
        """Return the Gaussians [N] of each frame."""
        return [self.gaussians[frame] for frame in range(len(self.gaussians.means))]

    @property
    def frames_per_second(self) -> float:
        """Return the speed of the animation."""
        return self.manifest.frames_per_second

    @property
    def camera(self) -> OrbitCamera:
        """Return the camera of the input video's square crop."""
        return self.manifest.camera.camera()

    @torch.no_grad()
    def render(
        self,
        camera: OrbitCamera | Sequence[OrbitCamera] | None = None,
        size: int = 512,
        background: float = 1.0,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Render every frame; returns uint8 [T, size, size, 3].

        camera: one for all frames, or one per frame; by default that of the input video. background: grey level in
        [0, 1]. Raises UserError when there are not as many cameras as frames.
        """
        cameras = self._cameras(camera)
        device = self.gaussians.means.device
        viewmats = torch.from_numpy(np.stack([one.viewmat for one in cameras])).float().to(device)
        Ks = torch.from_numpy(np.stack([one.K for one in cameras])).float().to(device)
        images = []
        with (progress or Progress()).step("render", len(cameras), "frames") as step:
            for start in range(0, len(cameras), _FRAMES_AT_ONCE):
                part = slice(start, start + _FRAMES_AT_ONCE)
                rgb = draw_gaussians(self.gaussians[part], viewmats[part, None], Ks[part, None], size, background)[:, 0]
                images.append((rgb.clamp(0, 1) * 255.0).round().byte().cpu().numpy())
                step.advance(len(images[-1]))
        return np.concatenate(images)

    def _cameras(self, camera: OrbitCamera | Sequence[OrbitCamera] | None) -> list[OrbitCamera]:
        num_frames = len(self.gaussians.means)
        if camera is None or isinstance(camera, OrbitCamera):
            return [camera or self.camera] * num_frames
        if len(camera) != num_frames:
            raise UserError(f"camera: has {len(camera)} cameras for {num_frames} frames. Give one, or one per frame.")
        return list(camera)

    def save(self, folder: PathLike, progress: Progress | None = None, size: int = 512) -> None:
        """Write the asset's folder: `asset.glb`, videos, page, manifest, and `mesh.glb` where a mesh is known.

        Everything is written or nothing. size: of the videos, pixels. Raises UserError when the folder holds anything but
        an asset.
        """
        files.demand_asset_folder(folder)
        progress = Stopwatch(progress or Progress())
        rate, facts = self.frames_per_second, as_facts(self.manifest)
        with fresh_directory(folder) as partial:
            with progress.step("pack", 1, "files") as step:
                save_asset_glb(partial / files.ASSET_NAME, self.gaussians, rate, facts=facts)
                step.note(f"{(partial / files.ASSET_NAME).stat().st_size / 1e6:.1f} MB")
            video = self._save_previews(partial, size, progress)
            save_ply(partial / files.CANONICAL_NAME, self.canonical)
            if self.model is not None and self.model.source is not None:
                save_mesh_animation(partial / files.MESH_NAME, self.model, self.gaussians.means, rate, progress)
            asset = (partial / files.ASSET_NAME).read_bytes()
            write_page(partial / files.PAGE_NAME, asset, title=self.manifest.video.name, video=video, facts=facts)
            self.manifest.with_seconds(progress.seconds).save(partial)

    def _save_previews(self, folder: Path, size: int, progress: Progress) -> bytes | None:
        """Write the videos and the contact sheet; returns the input video as MP4, if it is known."""
        rate = self.frames_per_second
        shown, video = [], None
        if self.video is not None:
            original = files.resized(on_background(torch.from_numpy(self.video.frames), WHITE).numpy(), size)
            video = files.video_bytes(original, rate)
            shown.append(original)
            files.write_png(folder / files.INPUT_NAME, contact_sheet(self.video))
        shown.append(self.render(size=size, progress=progress))
        if self.model is not None and self.model.mesh is not None:
            with progress.step("render the mesh", 1, "videos"):
                shown.append(self._render_mesh(self.model.mesh, size))
        files.write_preview(folder / files.PREVIEW_NAME, np.concatenate(shown, axis=2), rate)
        num_images = turntable_length(len(self.gaussians.means), rate, files.TURN_SECONDS)
        with progress.step("turntable", 1, "videos"):
            files.write_preview(folder / files.TURNTABLE_NAME, turntable(self.gaussians, size, num_images), rate)
        return video

    def _render_mesh(self, mesh: AnimatedMesh, size: int) -> np.ndarray:
        """Render the mesh that follows the Gaussians from the input's camera, over white; uint8 [T, size, size, 3]."""
        moved = mesh.vertices[0] + follow(mesh.vertices[0], self.canonical.means, self.gaussians.means)
        renderer, viewmat, K = MeshRenderer(mesh), self.camera.viewmat[None], self.camera.K[None]
        frames = np.concatenate([renderer.render(vertices, viewmat, K, size, _SAMPLES) for vertices in moved])
        return on_background(torch.from_numpy(frames), WHITE).numpy()

    @classmethod
    def load(cls, folder: PathLike) -> Asset4D:
        """Read the Gaussians and the manifest of an asset's folder. Raises UserError that names the file and the problem."""
        manifest = read_manifest(folder)
        path = Path(folder) / files.ASSET_NAME
        sequence = load_asset_glb(path)
        found = tuple(sequence.gaussians.means.shape[:2])
        if found != (expected := (manifest.num_frames, manifest.num_gaussians)):
            raise UserError(
                f"{path}: has {found[0]} frames of {found[1]} Gaussians, but the manifest beside it says {expected[0]} of "
                f"{expected[1]}. They do not belong together."
            )
        canonical = load_ply(Path(folder) / files.CANONICAL_NAME)
        if canonical.num_gaussians != manifest.num_gaussians:
            raise UserError(
                f"{Path(folder) / files.CANONICAL_NAME}: has {canonical.num_gaussians} Gaussians, but the manifest beside it "
                f"says {manifest.num_gaussians}. They do not belong together."
            )
        return cls(sequence.gaussians, canonical, manifest)


def with_times(num_frames: int, frames_per_second: float) -> tuple[float, ...]:
    """Return the times of evenly spaced frames in seconds, starting at zero."""
    return tuple(index / frames_per_second for index in range(num_frames))


def on_background(frames: Tensor, level: float) -> Tensor:
    """Return uint8 RGBA frames [..., 4] over a grey level, as uint8 RGB [..., 3]."""
    values = frames.float()
    alpha = values[..., 3:] / 255.0
    return (values[..., :3] * alpha + 255.0 * level * (1.0 - alpha)).round().byte()
