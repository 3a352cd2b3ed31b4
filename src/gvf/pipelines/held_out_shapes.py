"""Objects of held-out clips' first frames, generated from an image, beside what training objects alone tell of them.

All shapes of a clip are compared in the same axes, those in which the flows learned: with the orientation `view`, the object is
turned so that its image's camera is at azimuth 0, and fills the unit box; with `object`, they are the clip's own axes. For
images and distances the mesh tells where these axes lie in the clip's, so that no alignment is measured here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gvf.data.clips import clip_ids, load_views
from gvf.data.image_examples import ImageExamples, load_image_examples
from gvf.execution.rejected import Rejected, attempt
from gvf.gaussians.gaussians import Gaussians
from gvf.methods import MEAN_SHAPE, NEAREST, SHAPES, STRUCTURE_VAE, TRUE_VOXELS, VIDEO_ONLY
from gvf.models.image_to_3d.ss_vae import SsVAE
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.pipelines.animate_mesh import canonical_from_features
from gvf.pipelines.held_out_images import draw
from gvf.pipelines.held_out_objects import HeldOutObject, HeldOutObjects
from gvf.pipelines.training_shapes import TrainingImage, mean_shape, nearest_images
from gvf.storage.files import save_npz


@dataclass(frozen=True)
class Shape:
    """The object of a first frame by one method. voxels: [M, 3]; gaussians: [N]; both in the flows' axes, None where unknown."""

    voxels: Tensor | None
    gaussians: Gaussians | None


@dataclass(frozen=True)
class SampledShapes:
    """What the methods made of one clip's first frame: arrays to be stored, and the methods that failed."""

    arrays: Mapping[str, np.ndarray]
    failures: Mapping[str, Rejected]

    def write(self, folder: Path, clip: str) -> None:
        """Write the arrays into the folder of shapes."""
        save_npz(folder / f"{clip}.npz", **self.arrays)


@dataclass(frozen=True)
class HeldOutShapes:
    """Makes the shapes `SHAPES` of held-out clips.

    nearest: of each clip, the most similar training image. mean_voxels: [M, 3] of the mean shape.
    """

    objects: HeldOutObjects
    structure_vae: SsVAE
    nearest: Mapping[str, TrainingImage]
    mean_voxels: Tensor

    @classmethod
    def of(cls, objects: HeldOutObjects, clips: Sequence[str]) -> HeldOutShapes:
        """Search the training images for those nearest to held-out clips' first frames, and average their shapes."""
        workspace, networks = objects.motions.workspace, objects.networks
        resolution = networks.gaussian_decoder.config.resolution
        training = clip_ids(workspace, "train", after=workspace.features)

        def read(clip: str) -> ImageExamples:
            return load_image_examples(workspace, clip)

        tokens = {clip: attempt(clip, lambda name: read(name).tokens[0], clip) for clip in clips}
        sound = {clip: value for clip, value in tokens.items() if isinstance(value, Tensor)}
        mean = mean_shape(
            lambda: (
                examples.occupancy(image, resolution)
                for examples in map(read, training)
                for image in range(len(examples.tokens))
            )
        )
        nearest = dict(zip(sound, nearest_images(torch.stack(list(sound.values())), training, read)))
        vae = SsVAE.load(workspace.structure).to(networks.device)
        return cls(objects, vae, nearest, mean.nonzero())

    def sample(self, one: HeldOutObject) -> SampledShapes:
        """Return the shapes of one clip; a method that fails costs only itself."""
        workspace, device = self.objects.motions.workspace, self.objects.networks.device
        views = load_views(workspace, one.clip, "eval")
        own = attempt(one.clip, load_image_examples, workspace, one.clip)
        if isinstance(own, Rejected):
            return SampledShapes({}, dict.fromkeys(SHAPES, own))
        arrays, failures = {"voxels": own.voxels[0].numpy()}, {}

        def made(method: str) -> dict[str, np.ndarray]:
            shape, found = self._shape(one, method), {}
            if shape.voxels is not None:
                found[f"{method}_voxels"] = shape.voxels.cpu().numpy()
            if shape.gaussians is not None:
                placed = one.placed_by_mesh(shape.gaussians)
                found[f"{method}_means"] = placed.means.cpu().numpy()
                found[f"{method}_rgb"] = draw(placed.map(lambda value: value[None]), views, device).images[0]
            return found

        for method in SHAPES:
            result = attempt(one.clip, made, method)
            if isinstance(result, Rejected):
                failures[method] = result
            else:
                arrays |= result
        return SampledShapes(arrays, failures)

    def _shape(self, one: HeldOutObject, method: str) -> Shape:
        """Return the object of a clip's first frame by one of `SHAPES`, in the flows' axes."""
        networks, own = self.objects.networks, load_image_examples(self.objects.motions.workspace, one.clip)
        if method == VIDEO_ONLY:
            return Shape(one.made.voxels, one.made.gaussians)
        if method == MEAN_SHAPE:
            voxels = self.mean_voxels.to(networks.device)
            (mean,) = networks.mean_gaussians(VoxelBatch.pack([voxels]))
            return Shape(voxels, mean)
        if method == STRUCTURE_VAE:
            occupancy = own.occupancy(0, networks.gaussian_decoder.config.resolution)[None].to(networks.device)
            with torch.no_grad():
                (voxels,) = self.structure_vae.decoder.occupied(self.structure_vae.encoder(occupancy).mean)
            return Shape(voxels, None)
        if method == TRUE_VOXELS:
            return Shape(None, one.true_shape())
        assert method == NEAREST, "the last one"
        found = self.nearest[one.clip]
        examples = load_image_examples(self.objects.motions.workspace, found.clip)
        return Shape(examples.voxels[found.image], self._autoencoded(examples, found.image))

    def _autoencoded(self, examples: ImageExamples, image: int) -> Gaussians:
        """Return the Gaussians [N] that the canonical autoencoder makes of the shape in an image."""
        pipeline = self.objects.motions.pipeline
        features, voxels = (part[image].to(pipeline.device) for part in (examples.features, examples.voxels))
        return canonical_from_features(pipeline.vae, features, voxels).clip(0)
