"""Canonical Gaussians of the first frame from what a person has: a mesh (A.3), or Gaussians as a PLY file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from gvf.data.clips import Views
from gvf.data.mesh import AnimatedMesh
from gvf.data.mesh_source import MAX_TRIANGLES, MeshSource, read_mesh
from gvf.errors import ClipError, UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.ply import load_ply, ply_holds_gaussians
from gvf.gaussians.ply_header import read_ply_header
from gvf.geometry.camera import intrinsics, orbit, sphere_hammersley
from gvf.geometry.similarity import Similarity, unit_box
from gvf.pipelines.animate_mesh import canonical_from_features
from gvf.pipelines.canonical_image import IMAGE_SUFFIXES, ImageSettings, gaussians_of_image
from gvf.pipelines.generator_index import CanonicalViews
from gvf.pipelines.mesh_to_canonical import voxel_features
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.progress import Progress
from gvf.rendering.mesh_views import MeshRenderer
from gvf.storage.files import PathLike, sha256
from gvf.storage.images import read_rgba
from gvf.text import MAX_NAME, clean
from gvf.video.clip import Clip
from gvf.video.matting import matted
from gvf.video.options import VideoOptions

Origin = Literal["mesh", "gaussians", "image"]
Axis = Literal["y", "z", "-y"]

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
    """Return the canonical object of a file: a mesh in .glb, .gltf, .obj, .ply or .stl, a .ply of Gaussians, or an image.

    clip: the animation of a glTF file whose first keyframe is the pose; None for the rest pose. up: the axis that points
    up in the file (`y` or `z`), None for what is usual for its kind. image: settings for images.
    The object is centred, and its longest side in this pose becomes 1 (in training it is the longest side over all
    frames, which only a known motion has).
    Raises UserError that names the file and what is wrong with it.
    """
    path, progress = Path(source), progress or Progress()
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
    for warning in found.warnings:
        progress.warn(warning)
    return replace(canonical_of_mesh(path, found, generator, progress), name=clean(path.name, MAX_NAME), clip=clip)


def canonical_of_image(
    path: Path, generator: MotionGenerator, settings: ImageSettings, progress: Progress
) -> CanonicalObject:
    """Return the Gaussians of the object in an image, which is cut out by its alpha or from a plain background."""
    with progress.step("read the image"):
        rgba = read_rgba(path)
    height, width = rgba.shape[:2]
    clip = Clip(rgba[None], np.zeros(1), 1.0, (width, height))
    cut_out, _ = matted(clip, VideoOptions(), path.name, progress)
    gaussians = gaussians_of_image(cut_out.frames[0], generator, settings, progress)
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
    scaled = Gaussians.from_rendered(
        means=(gaussians.means - torch.tensor(box.center)) / box.scale,
        colors=gaussians.colors,
        scales=gaussians.scales / box.scale,
        quats=gaussians.quats,
        opacities=gaussians.opacities,
        activation=gaussians.activation,
    )
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


def canonical_of_mesh(
    path: Path, source: MeshSource, generator: MotionGenerator, progress: Progress
) -> CanonicalObject:
    """Return the canonical Gaussians of a mesh, D_GS(E_GS(M_1)) (A.3). path: its file, for messages."""
    config, vae = generator.index.featurize_config(), generator.vae
    if generator.encoder.voxel_dim != (expected := vae.static.encoder.config.feature_channels):
        raise UserError(
            f"generator: its image encoder {config.encoder} makes features of {generator.encoder.voxel_dim} channels, its mesh "
            f"encoder takes {expected}. They do not belong together."
        )
    try:
        mesh = source.mesh.normalized()
        views = draw_views(mesh, generator.index.views, progress)
        with progress.step("image features"):
            voxels, features = voxel_features(
                generator.encoder,
                mesh.vertices[0],
                mesh.faces,
                mesh.double_sided,
                views,
                config.voxel_resolution,
                config.voxel_weighting,
                config.batch_size,
                generator.device,
            )
    except ClipError as error:
        raise UserError(f"{path}: {error.message}") from None
    with progress.step("canonical Gaussians") as step:
        stored = features.half()  # the precision that the networks were trained with
        canonical = canonical_from_features(vae, stored.to(generator.device), voxels.to(generator.device))
        gaussians = canonical.clip(0)
        step.note(f"{gaussians.num_gaussians} Gaussians in {len(voxels)} voxels")
    to_file = unit_box(source.mesh.vertices[0], "y").turned(source.up)
    return CanonicalObject(gaussians, mesh, "mesh", to_file, sha256(path), source)


def draw_views(mesh: AnimatedMesh, settings: CanonicalViews, progress: Progress) -> Views:
    """Return images of a mesh's first frame, spread evenly over the sphere, as training draws them."""
    azimuths, elevations = sphere_hammersley(settings.count)
    viewmats = orbit(azimuths, elevations, settings.radius)
    Ks = intrinsics(np.full(settings.count, settings.fov))
    renderer = MeshRenderer(mesh)
    images = []
    with progress.step("views of the model", settings.count, "views") as step:
        for part in _parts(settings.count, 4):
            drawn = renderer.render(mesh.vertices[0], viewmats[part], Ks[part], settings.size, settings.samples)
            images.append(drawn)
            step.advance(len(drawn))
    return Views(torch.from_numpy(np.concatenate(images)), torch.from_numpy(viewmats), torch.from_numpy(Ks))


def _parts(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
