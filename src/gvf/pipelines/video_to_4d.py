"""From a video to a 4D asset: canonical Gaussians, alignment with the first frame, motion (Sec. 3.3, A.2, A.3, D.1)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera, fov_of_part
from gvf.pipelines.alignment import AlignmentSettings, align
from gvf.pipelines.asset import Asset4D
from gvf.pipelines.asset_facts import record
from gvf.pipelines.canonical import (
    CanonicalObject,
    MeshObject,
    Start,
    canonical_of_gaussians,
    looks_of,
    read_object,
    start_of,
)
from gvf.pipelines.canonical_image import ImageSettings, object_of_image
from gvf.pipelines.motion import Motion, MotionSettings, generate_motion
from gvf.pipelines.motion_generator import MotionGenerator
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
        in the unit box, z up; None to make it from the first frame, with the generator's own networks or TRELLIS's. Raises
        UserError when either cannot be used, or when the memory does not suffice.
        """
        settings, watch = settings or Settings(), Stopwatch.of(progress)
        if not isinstance(video, InputVideo):
            video = prepare_video(Path(video), settings.video, watch)
        found, faces_camera = self._object(canonical, video, settings, watch)
        frames, known = torch.from_numpy(video.frames), _for_crop(settings.alignment, video)
        if faces_camera and known.azimuth is None:
            known = replace(known, azimuth=0.0)
        alignment = align(looks_of(found), frames[0], known, watch)
        start = start_of(found, alignment.camera.azimuth, self, watch)
        motion = self._motion(start, frames, alignment.camera, settings.motion, watch)
        manifest = record(self, video, start.canonical, alignment, motion, settings.parts(), watch)
        canonical_gaussians = start.canonical.gaussians.to("cpu")
        return Asset4D(start.axes.left(motion.gaussians), canonical_gaussians, manifest, video, start.canonical)

    def _object(
        self, source: PathLike | Gaussians | None, video: InputVideo, settings: Settings, progress: Progress
    ) -> tuple[MeshObject | CanonicalObject, bool]:
        """Return the object, and whether the video's camera is known to be at azimuth 0 in its axes."""
        if source is None:
            made = object_of_image(video.frames[0], self, settings.image, progress)
            return replace(canonical_of_gaussians(made.gaussians), origin="image", name=video.name), made.faces_camera
        if isinstance(source, Gaussians):
            return canonical_of_gaussians(source.to(self.device)), False
        return read_object(
            source, self, clip=settings.clip, up=settings.up, image=settings.image, progress=progress
        ), False

    def _motion(
        self, start: Start, frames: Tensor, camera: OrbitCamera, settings: MotionSettings, progress: Progress
    ) -> Motion:
        """Generate the motion in the axes of training, of what the training camera would show."""
        camera = start.axes.camera(camera)
        seen = training_view(frames, camera, self.index.image_encoder.preprocessing.size)
        return generate_motion(self, seen, start.gaussians, camera_of_view(camera), settings, progress)


def _for_crop(settings: AlignmentSettings, video: InputVideo) -> AlignmentSettings:
    """Return the settings with the field of view of the first frame's crop in place of the whole video's."""
    if settings.fov is None:
        return settings
    share = float(video.crops[0, 2]) / video.source_size[1]
    return replace(settings, fov=fov_of_part(settings.fov, share))
