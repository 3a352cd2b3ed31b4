"""Canonical Gaussians of a mesh, D_GS(E_GS(M_1)) (A.3), in the axes in which the generator was trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from gvf.data.clips import Views
from gvf.data.mesh import AnimatedMesh
from gvf.errors import ClipError, UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import intrinsics, orbit, sphere_hammersley
from gvf.pipelines.animate_mesh import canonical_from_features
from gvf.pipelines.generator_index import CanonicalViews
from gvf.pipelines.mesh_to_canonical import voxel_features
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.pipelines.training_axes import TrainingAxes
from gvf.progress import Progress
from gvf.rendering.mesh_views import MeshRenderer


def encode_mesh(
    mesh: AnimatedMesh, axes: TrainingAxes, generator: MotionGenerator, path: Path, progress: Progress
) -> Gaussians:
    """Return the Gaussians [N] of a mesh's first frame, in `axes`, where the networks see it.

    mesh: in its own axes, whose light colours it. path: its file, for messages. Raises UserError when the mesh has no surface,
    and when the generator's encoders do not belong together.
    """
    config, vae = generator.index.featurize_config(), generator.vae
    if generator.encoder.voxel_dim != (expected := vae.static.encoder.config.feature_channels):
        raise UserError(
            f"generator: its image encoder {config.encoder} makes features of {generator.encoder.voxel_dim} channels, its mesh "
            f"encoder takes {expected}. They do not belong together."
        )
    views = draw_views(mesh, axes, generator.index.views, progress)
    try:
        with progress.step("image features"):
            voxels, features = voxel_features(
                generator.encoder,
                axes.entered(mesh.vertices[0]).astype(np.float32).clip(-0.5, 0.5),
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
    return gaussians


def draw_views(mesh: AnimatedMesh, axes: TrainingAxes, settings: CanonicalViews, progress: Progress) -> Views:
    """Return images of a mesh's first frame, spread evenly over the sphere in `axes`, as training draws them."""
    azimuths, elevations = sphere_hammersley(settings.count)
    viewmats = orbit(azimuths, elevations, settings.radius)
    own, Ks = axes.own_viewmats(viewmats), intrinsics(np.full(settings.count, settings.fov))
    renderer = MeshRenderer(mesh)
    images = []
    with progress.step("views of the model", settings.count, "views") as step:
        for part in _parts(settings.count, 4):
            drawn = renderer.render(mesh.vertices[0], own[part], Ks[part], settings.size, settings.samples)
            images.append(drawn)
            step.advance(len(drawn))
    return Views(torch.from_numpy(np.concatenate(images)), torch.from_numpy(viewmats), torch.from_numpy(Ks))


def _parts(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
