"""Objects of held-out clips, generated from the first frames of their frontal videos alone, and moved as these show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from gvf.data.clips import load_views
from gvf.data.image_examples import load_image_examples
from gvf.diffusion.flow_euler import FlowSettings
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.resizing import resized
from gvf.gaussians.rotation import rotated_about_z, with_smallest_rotations
from gvf.geometry.camera import Array, OrbitCamera, positions
from gvf.models.image_to_3d.image_features import ImageFeatures
from gvf.pipelines.alignment import AlignmentSettings, align
from gvf.pipelines.clip_player import VIDEO
from gvf.pipelines.held_out_motions import HeldOutMotions
from gvf.pipelines.image_to_canonical import ImageToCanonical
from gvf.progress import Progress
from gvf.training.randomness import derive_seed


@dataclass(frozen=True)
class HeldOutObjects:
    """Generates moving objects from held-out clips' frontal videos; the noise depends only on the seed and the clip.

    An object is put where the video's camera, which is known, shows it: size and place are those at which it fits the first
    frame. Nothing is read of the clip's mesh. structure, latents: sampling of the two flows.
    """

    networks: ImageToCanonical
    motions: HeldOutMotions
    structure: FlowSettings
    latents: FlowSettings

    def canonical(self, clip: str) -> Gaussians:
        """Return the Gaussians [N] of a clip's first frame, in the clip's axes. Raises StageError when there are none."""
        examples = load_image_examples(self.motions.workspace, clip)
        image = ImageFeatures(examples.tokens[:1], None if examples.maps is None else examples.maps[:1])
        source = torch.Generator().manual_seed(derive_seed(self.motions.seed, "object", clip))
        (made,) = self.networks(image, generator=source, structure=self.structure, latents=self.latents)
        made = Gaussians.from_activated14(made.to_activated14(), self.motions.pipeline.vae.static.decoder.activation)
        views = load_views(self.motions.workspace, clip, "video")
        known = orbit_camera(views.viewmats[VIDEO].double().numpy(), views.Ks[VIDEO].double().numpy())
        azimuth = known.azimuth if self.networks.index.orientation == "view" else None
        settings = AlignmentSettings(azimuth, known.elevation, known.fov)
        found = align(made, views.rgba[VIDEO, 0], settings, Progress()).camera
        return registered(made, found, known)

    def moving(self, clip: str) -> Gaussians:
        """Return the moving Gaussians [T, N] of a clip, in the clip's axes."""
        pipeline, canonical = self.motions.pipeline, self.canonical(clip)
        views = load_views(self.motions.workspace, clip, "video")
        camera = orbit_camera(views.viewmats[VIDEO].double().numpy(), views.Ks[VIDEO].double().numpy())
        source = torch.Generator().manual_seed(derive_seed(self.motions.seed, "sample", clip))
        sampling = self.motions.sampling.model_dump()
        return pipeline.motion(views.rgba[VIDEO], canonical, camera=camera, generator=source, **sampling).gaussians


def orbit_camera(viewmat: Array, K: Array) -> OrbitCamera:
    """Return a camera that looks at the origin, without roll, given by its matrices."""
    x, y, z = (float(value) for value in positions(viewmat))
    radius = math.sqrt(x * x + y * y + z * z)
    fov = 2.0 * math.degrees(math.atan(0.5 / float(K[1, 1])))
    return OrbitCamera(math.degrees(math.atan2(x, -y)), math.degrees(math.asin(z / radius)), radius, fov)


def registered(gaussians: Gaussians, found: OrbitCamera, known: OrbitCamera) -> Gaussians:
    """Return Gaussians [N] so placed that a known camera sees them as another camera, which was found, sees them as they are.

    found: of the same elevation and field of view; it differs in azimuth, distance and shift. What is off the origin changes
    its perspective slightly where there is a shift.
    """
    turn = known.azimuth - found.azimuth
    if abs(turn) > 1e-6:
        gaussians = with_smallest_rotations(rotated_about_z(gaussians, turn))
    reach = 2.0 * math.tan(math.radians(known.fov) / 2.0) * known.radius  # height of the image at the origin
    right, down = known.viewmat[0, :3], known.viewmat[1, :3]
    offset = reach * (found.shift[0] * right + found.shift[1] * down)
    return resized(gaussians, known.radius / found.radius, np.asarray(offset).tolist())
