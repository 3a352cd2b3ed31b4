"""Objects of held-out clips, generated from the first frames of their frontal videos alone, and moved as these show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from gvf.data.clips import Views, load_points, load_views
from gvf.data.image_examples import load_image_examples
from gvf.diffusion.flow_euler import FlowSettings
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.resizing import resized
from gvf.gaussians.rotation import rotated_about_z, with_smallest_rotations
from gvf.geometry.camera import Array, OrbitCamera, positions
from gvf.methods import TRUE_ALIGNMENT, TRUE_MOTION, TRUE_SHAPE
from gvf.models.image_to_3d.image_features import ImageFeatures
from gvf.models.variation.joint_vae import Canonical
from gvf.pipelines.alignment import AlignmentSettings, align
from gvf.pipelines.animate_mesh import canonical_from_features, known_motion, reconstruct
from gvf.pipelines.clip_player import VIDEO
from gvf.pipelines.held_out_motions import HeldOutMotions
from gvf.pipelines.image_to_canonical import ImageToCanonical
from gvf.pipelines.training_axes import TrainingAxes
from gvf.progress import Progress
from gvf.storage.files import load_npz
from gvf.training.randomness import derive_seed

_NO_TURN = 1e-6  # degrees

Value = TypeVar("Value")


@dataclass(frozen=True)
class HeldOutObjects:
    """Generates moving objects from held-out clips' frontal videos; the noise depends only on the seed and the clip.

    structure, latents: sampling of the two flows.
    """

    networks: ImageToCanonical
    motions: HeldOutMotions
    structure: FlowSettings
    latents: FlowSettings

    def of(self, clip: str) -> HeldOutObject:
        """Return the object of one clip."""
        return HeldOutObject(self, clip)


@dataclass(frozen=True)
class GeneratedShape:
    """The object of a first frame, in the flows' axes: active voxels [M, 3], and Gaussians [N] in and around them."""

    voxels: Tensor
    gaussians: Gaussians


@dataclass(frozen=True)
class HeldOutObject:
    """One clip's object: shape, place and motion, each generated from the clip's frontal video or taken from its mesh.

    The flows' axes are those of their training examples: with the orientation `view`, the object is turned so that the
    video's camera is at azimuth 0 and its first frame fills the unit box; with `object`, they are the clip's own axes.
    """

    source: HeldOutObjects
    clip: str
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def moving(self, method: str) -> Gaussians:
        """Return the moving Gaussians [T, N] of one of the `OWN_OBJECTS`, in the clip's axes.

        Only what the method's name says is taken from the mesh. Raises StageError when no voxel is generated.
        """
        if method == TRUE_MOTION:
            return self._moved_by_mesh(self.placed)
        if method == TRUE_SHAPE:
            return self._moved(self._aligned(self.true_shape()))
        if method == TRUE_ALIGNMENT:
            return self._moved(self.placed_by_mesh(self.made.gaussians))
        return self._moved(self.placed)

    @property
    def made(self) -> GeneratedShape:
        """Return the generated object of the first frame, in the flows' axes. Raises StageError when no voxel is generated."""
        return self._once("made", self._make)

    @property
    def placed(self) -> Gaussians:
        """Return the generated Gaussians [N] of the first frame, put into the clip's axes by the video's first frame."""
        return self._once("placed", lambda: self._aligned(self.made.gaussians))

    def _once(self, name: str, compute: Callable[[], Value]) -> Value:
        """Return a value that is computed at its first use. `cached_property` of Python 3.11 makes other clips' threads wait."""
        if name not in self._kept:
            self._kept[name] = compute()
        return cast(Value, self._kept[name])

    def _make(self) -> GeneratedShape:
        source, motions = self.source, self.source.motions
        examples = load_image_examples(motions.workspace, self.clip)
        image = ImageFeatures(examples.tokens[:1], None if examples.maps is None else examples.maps[:1])
        noise = torch.Generator().manual_seed(derive_seed(motions.seed, "object", self.clip))
        voxels = source.networks.structure(image, noise, source.structure)
        (made,) = source.networks.gaussians(image, voxels, noise, source.latents)
        activation = motions.pipeline.vae.static.decoder.activation
        return GeneratedShape(voxels.coords, Gaussians.from_activated14(made.to_activated14(), activation))

    def true_shape(self) -> Gaussians:
        """Return the Gaussians [N] that the autoencoder makes of the mesh's first frame, in the flows' axes."""
        motions = self.source.motions
        examples, pipeline = load_image_examples(motions.workspace, self.clip), motions.pipeline
        features, voxels = (values[0].to(pipeline.device) for values in (examples.features, examples.voxels))
        return canonical_from_features(pipeline.vae, features, voxels).clip(0)

    def _aligned(self, shape: Gaussians) -> Gaussians:
        """Return Gaussians [N] of the flows' axes where the video's camera, which is known, shows the object.

        Size and place are those at which they fit the first frame, as is the azimuth unless the flows' axes give it.
        """
        camera = self._camera
        settings = AlignmentSettings(0.0 if self._faces_camera else None, camera.elevation, camera.fov)
        found = align(shape, self._video.rgba[VIDEO, 0], settings, Progress()).camera
        return registered(shape, found, camera)

    def placed_by_mesh(self, shape: Gaussians) -> Gaussians:
        """Return Gaussians [N] of the flows' axes in the clip's axes, as the mesh's first frame lies in both."""
        if not self._faces_camera:
            return shape
        vertices = load_npz(self.source.motions.workspace.curated / f"{self.clip}.npz", ["vertices"])["vertices"]
        axes = TrainingAxes.around(vertices[0].astype(np.float64), self._camera.azimuth)
        return with_smallest_rotations(axes.left(shape)) if abs(axes.azimuth) > _NO_TURN else axes.left(shape)

    def _moved(self, canonical: Gaussians) -> Gaussians:
        """Return Gaussians [N] of the clip's axes with the motion [T, N] that is generated from the video."""
        motions = self.source.motions
        noise = torch.Generator().manual_seed(derive_seed(motions.seed, "sample", self.clip))
        frames, sampling = self._video.rgba[VIDEO], motions.sampling.model_dump()
        return motions.pipeline.motion(frames, canonical, camera=self._camera, generator=noise, **sampling).gaussians

    def _moved_by_mesh(self, canonical: Gaussians) -> Gaussians:
        """Return Gaussians [N] of the clip's axes with the mesh's motion [T, N], encoded and decoded by the variation VAE.

        The motion is carried onto them as onto the mesh's own Gaussians, by the nearest points of the surface (Eq. 3-4).
        """
        vae, one = self.source.motions.pipeline.vae, Canonical.of(canonical)
        points = load_points(self.source.motions.workspace, self.clip).to(canonical.means.device)
        return canonical.vary(reconstruct(vae, one, known_motion(vae, one, points)))

    @property
    def _faces_camera(self) -> bool:
        return self.source.networks.index.orientation == "view"

    @property
    def _video(self) -> Views:
        return load_views(self.source.motions.workspace, self.clip, "video")

    @property
    def _camera(self) -> OrbitCamera:
        """Return the camera of the frontal video."""
        views = self._video
        return orbit_camera(views.viewmats[VIDEO].double().numpy(), views.Ks[VIDEO].double().numpy())


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
    if abs(turn) > _NO_TURN:
        gaussians = with_smallest_rotations(rotated_about_z(gaussians, turn))
    reach = 2.0 * math.tan(math.radians(known.fov) / 2.0) * known.radius  # height of the image at the origin
    right, down = known.viewmat[0, :3], known.viewmat[1, :3]
    offset = reach * (found.shift[0] * right + found.shift[1] * down)
    return resized(gaussians, known.radius / found.radius, np.asarray(offset).tolist())
