"""From a video to a 4D asset: canonical Gaussians, alignment with the first frame, motion (Sec. 3.3, A.2, A.3, D.1)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.rotation import rotated_about_z, with_smallest_rotations
from gvf.geometry.camera import OrbitCamera, fov_of_part
from gvf.pipelines.alignment import AlignmentSettings, align
from gvf.pipelines.asset import Asset4D
from gvf.pipelines.asset_facts import record
from gvf.pipelines.canonical import CanonicalObject, canonical_of_gaussians, load_canonical
from gvf.pipelines.canonical_image import ImageSettings, gaussians_of_image
from gvf.pipelines.motion import Motion, MotionSettings, demand_memory, generate_motion
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.pipelines.surface_gaussians import surface_gaussians
from gvf.pipelines.training_view import camera_of_view, training_view
from gvf.progress import Progress, Stopwatch
from gvf.storage.files import PathLike
from gvf.video.input_video import InputVideo
from gvf.video.options import VideoOptions
from gvf.video.preparation import prepare_video


@dataclass(frozen=True)
class Settings:
    """Settings of the pipeline.

    alignment: here, fov is the vertical field of view of the whole video, of which a crop shows a part.
    clip: animation of the model whose first frame is its pose; by default its rest pose. up: the model file's up axis, by
    default that of its format; see `load_canonical`. image: how the first frame, or an image, becomes an object.
    """

    video: VideoOptions = field(default_factory=VideoOptions)
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    motion: MotionSettings = field(default_factory=MotionSettings)
    clip: str | None = None
    up: str | None = None
    image: ImageSettings = field(default_factory=ImageSettings)

    def parts(self) -> dict[str, object]:
        """Return the settings by part."""
        return {"video": self.video, "alignment": self.alignment, "motion": self.motion, "image": self.image}


class VideoTo4D(MotionGenerator):
    """Makes 4D assets from videos of any number of frames; `from_pretrained` loads one."""

    def __call__(
        self,
        video: PathLike | InputVideo,
        canonical: PathLike | Gaussians | None = None,
        *,
        settings: Settings | None = None,
        progress: Progress | None = None,
    ) -> Asset4D:
        """Make an animated asset from a video.

        video: a file, a folder of frames, or a video that `prepare_video` or `InputVideo.from_frames` returned. canonical:
        the object in the first frame: a mesh (.glb, .gltf, .obj, .ply, .stl), Gaussians in a .ply, an image, or Gaussians [N]
        in the unit box, z up; None to make it from the first frame, with TRELLIS's networks. Raises UserError when either
        cannot be used, or when the memory does not suffice.
        """
        settings, watch = settings or Settings(), Stopwatch(progress or Progress())
        if not isinstance(video, InputVideo):
            video = prepare_video(Path(video), settings.video, watch)
        found = self._canonical(canonical, video, settings, watch)
        demand_memory(self, len(video.frames), found.gaussians.num_gaussians, settings.motion)
        looks = found.gaussians if found.mesh is None else surface_gaussians(found.mesh)
        alignment = align(looks, video.frames[0], _for_crop(settings.alignment, video), watch)
        motion = self._motion(found.gaussians, video.frames, alignment.camera, settings.motion, watch)
        gaussians = rotated_about_z(motion.gaussians, alignment.camera.azimuth)
        manifest = record(self, video, found, alignment, motion, settings.parts(), watch)
        return Asset4D(gaussians, found.gaussians.to("cpu"), manifest, video, found)

    def _canonical(
        self, source: PathLike | Gaussians | None, video: InputVideo, settings: Settings, progress: Progress
    ) -> CanonicalObject:
        if source is None:
            made = gaussians_of_image(video.frames[0].numpy(), self, settings.image, progress)
            return replace(canonical_of_gaussians(made), origin="image", name=video.name)
        if isinstance(source, Gaussians):
            return canonical_of_gaussians(source.to(self.device))
        return load_canonical(source, self, clip=settings.clip, up=settings.up, image=settings.image, progress=progress)

    def _motion(
        self, canonical: Gaussians, frames: Tensor, camera: OrbitCamera, settings: MotionSettings, progress: Progress
    ) -> Motion:
        """Generate the motion in the axes of training: the object turned so that the camera is at azimuth 0."""
        turned = with_smallest_rotations(rotated_about_z(canonical, -camera.azimuth))
        seen = training_view(frames, camera, self.index.image_encoder.preprocessing.size)
        return generate_motion(self, seen, turned, camera_of_view(camera), settings, progress)


def _for_crop(settings: AlignmentSettings, video: InputVideo) -> AlignmentSettings:
    """Return the settings with the field of view of the first frame's crop in place of the whole video's."""
    if settings.fov is None:
        return settings
    share = float(video.crops[0, 2]) / video.source_size[1]
    return replace(settings, fov=fov_of_part(settings.fov, share))
