"""Canonical Gaussians of the first frame from what a person has: a mesh (A.3), or Gaussians as a PLY file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from gvf.data.mesh import AnimatedMesh
from gvf.data.mesh_source import MAX_TRIANGLES, MeshSource, read_mesh
from gvf.errors import ClipError, UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.ply import load_ply, ply_holds_gaussians
from gvf.gaussians.ply_header import read_ply_header
from gvf.gaussians.resizing import resized
from gvf.gaussians.rotation import rotated_about_z, with_smallest_rotations
from gvf.geometry.similarity import Similarity, unit_box
from gvf.pipelines.canonical_image import IMAGE_SUFFIXES, ImageSettings, object_of_image
from gvf.pipelines.mesh_encoding import encode_mesh
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.pipelines.surface_gaussians import surface_gaussians
from gvf.pipelines.training_axes import TrainingAxes
from gvf.progress import Progress
from gvf.storage.files import PathLike, sha256
from gvf.storage.images import read_rgba
from gvf.text import MAX_NAME, clean
from gvf.video.clip import Clip
from gvf.video.matting import matted
from gvf.video.object_crop import shrunk
from gvf.video.options import VideoOptions

Origin = Literal["mesh", "gaussians", "image"]
Axis = Literal["y", "z", "-y"]

SMALL_TURN = 5.0  # degrees within which a mesh is encoded in its own axes
_VISIBLE = 0.05  # opacity
_MARGIN = 0.05  # object units, by which means may lie outside the box: those of our own files do, by up to a voxel


@dataclass(frozen=True)
class CanonicalObject:
    """The object of the first frame.

    gaussians: [N], on the generator's device. mesh: one frame in the unit box, z up; None unless it comes from a mesh, as
    is source, its file. to_file: takes object units to units and axes of the file. sha256, name: of the file; empty for
    Gaussians that come from none. clip: the animation whose first frame is the pose, if any.
    """

    gaussians: Gaussians
    mesh: AnimatedMesh | None
    origin: Origin
    to_file: Similarity
    sha256: str
    source: MeshSource | None = None
    name: str = ""
    clip: str | None = None


@dataclass(frozen=True)
class MeshObject:
    """A mesh that no network has seen yet. path, source: its file, and what was read from it.

    mesh: one frame in the unit box, z up. clip: the animation whose first frame is the pose, if any.
    """

    path: Path
    source: MeshSource
    mesh: AnimatedMesh
    clip: str | None


@dataclass(frozen=True)
class Start:
    """What a motion starts from: Gaussians [N] in the axes of training, and the same object in its own axes."""

    gaussians: Gaussians
    axes: TrainingAxes
    canonical: CanonicalObject


def canonical_of_gaussians(gaussians: Gaussians) -> CanonicalObject:
    """Return the canonical object of given Gaussians [N] in the unit box, z up."""
    return CanonicalObject(gaussians, None, "gaussians", Similarity(1.0, (0.0, 0.0, 0.0), "z"), "")


def load_canonical(
    source: PathLike,
    generator: MotionGenerator,
    *,
    clip: str | None = None,
    up: str | None = None,
    image: ImageSettings | None = None,
    progress: Progress | None = None,
) -> CanonicalObject:
    """Return the canonical object of a file, seen from the front: `read_object`, and for a mesh, the networks."""
    progress = progress or Progress()
    found = read_object(source, generator, clip=clip, up=up, image=image, progress=progress)
    return start_of(found, 0.0, generator, progress).canonical if isinstance(found, MeshObject) else found


def read_object(
    source: PathLike,
    generator: MotionGenerator,
    *,
    clip: str | None,
    up: str | None,
    image: ImageSettings | None,
    progress: Progress,
) -> MeshObject | CanonicalObject:
    """Return the object in a file: a mesh in .glb, .gltf, .obj, .ply or .stl, a .ply of Gaussians, or an image.

    clip: the animation of a glTF file whose first keyframe is the pose; None for the rest pose. up: the axis that points
    up in the file (`y` or `z`), None for what is usual for its kind. image: settings for images.
    The object is centred, and its longest side in this pose becomes 1 (in training it is the longest side over all
    frames, which only a known motion has).
    Raises UserError that names the file and what is wrong with it.
    """
    path = Path(source)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        if clip is not None or up is not None:
            raise UserError(f"{path}: is an image, which has neither animations nor axes. Leave --clip and --up out.")
        return canonical_of_image(path, generator, image or ImageSettings(), progress)
    if path.suffix.lower() == ".ply" and ply_holds_gaussians(path):
        if clip is not None:
            raise UserError(f"{path}: holds Gaussians without animations. Leave --clip out.")
        return replace(canonical_of_ply(path, generator, up, progress), name=clean(path.name, MAX_NAME))
    with progress.step("read the model"):
        found = read_mesh(path, clip, up)
        try:
            mesh = found.mesh.normalized()
        except ClipError as error:
            raise UserError(f"{path}: {error.message}") from None
    for warning in found.warnings:
        progress.warn(warning)
    return MeshObject(path, found, mesh, clip)


def looks_of(found: MeshObject | CanonicalObject) -> Gaussians:
    """Return Gaussians [N] that look like the object, in its own axes: what the alignment compares with the video."""
    return surface_gaussians(found.mesh) if isinstance(found, MeshObject) else found.gaussians


def start_of(
    found: MeshObject | CanonicalObject, azimuth: float, generator: MotionGenerator, progress: Progress
) -> Start:
    """Return what the motion starts from, in a video whose camera is at an azimuth, degrees in the object's own axes.

    A mesh that is seen from another side than its front is turned before it is encoded, so that its Gaussians lie on the voxel
    grid as they do in training. Given Gaussians, and a mesh that is hardly turned, are turned as Gaussians.
    """
    if isinstance(found, MeshObject):
        axes = TrainingAxes.around(found.mesh.vertices[0], azimuth if abs(azimuth) > SMALL_TURN else 0.0)
        gaussians = encode_mesh(found.mesh, axes, generator, found.path, progress)
        canonical = CanonicalObject(
            axes.left(gaussians),
            found.mesh,
            "mesh",
            unit_box(found.source.mesh.vertices[0], "y").turned(found.source.up),
            sha256(found.path),
            found.source,
            clean(found.path.name, MAX_NAME),
            found.clip,
        )
        if abs(azimuth) > SMALL_TURN:
            return Start(gaussians, axes, canonical)
        found = canonical
    turned = with_smallest_rotations(rotated_about_z(found.gaussians, -azimuth))
    return Start(turned, TrainingAxes(azimuth), found)


def canonical_of_image(
    path: Path, generator: MotionGenerator, settings: ImageSettings, progress: Progress
) -> CanonicalObject:
    """Return the Gaussians of the object in an image, which is cut out by its alpha or from a plain background."""
    with progress.step("read the image"):
        rgba = shrunk(read_rgba(path))
    height, width = rgba.shape[:2]
    clip = Clip(rgba[None], np.zeros(1), 1.0, (width, height))
    cut_out, _ = matted(clip, VideoOptions(), path.name, progress)
    gaussians = object_of_image(cut_out.frames[0], generator, settings, progress).gaussians
    place = Similarity(1.0, (0.0, 0.0, 0.0), "z")
    return CanonicalObject(gaussians, None, "image", place, sha256(path), name=clean(path.name, MAX_NAME))


def canonical_of_ply(path: Path, generator: MotionGenerator, up: str | None, progress: Progress) -> CanonicalObject:
    """Return the Gaussians of a PLY file, moved into the unit box unless they fill it already.

    Their raw values are those of the generator's own decoder, to which its variations are added (Eq. 7).
    """
    axis: Axis = "-y" if up is None else "y" if up == "y" else "z"
    with progress.step("read the Gaussians") as step:
        gaussians = load_ply(path, generator.vae.static.decoder.activation, axis)
        step.note(f"{gaussians.num_gaussians} Gaussians")
    if "f_rest_0" in read_ply_header(path, MAX_TRIANGLES).elements["vertex"].properties:
        progress.warn(f"{path.name}: its colours depend on the view; only their mean over all views is used.")
    box = _visible_box(path, gaussians)
    scaled = resized(gaussians, 1.0 / box.scale, [-value / box.scale for value in box.center])
    to_file = box.turned(axis)
    return CanonicalObject(scaled.to(generator.device), None, "gaussians", to_file, sha256(path))


def _visible_box(path: Path, gaussians: Gaussians) -> Similarity:
    """Return the box of the visible Gaussians, or the unit box where they are inside and at least half as large."""
    visible = gaussians.means[gaussians.opacities > _VISIBLE].numpy()
    if not len(visible):
        raise UserError(f"{path}: all its Gaussians are transparent.")
    try:
        box = unit_box(visible, "z")
    except ValueError:
        raise UserError(f"{path}: all its visible Gaussians are in one place.") from None
    inside = np.abs(visible).max() <= 0.5 + _MARGIN
    return Similarity(1.0, (0.0, 0.0, 0.0), "z") if inside and box.scale >= 0.5 else box
