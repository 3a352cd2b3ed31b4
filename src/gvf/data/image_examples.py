"""Reader of conditioning images as encoded, with the shape that each of them shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gvf.data.clips import load_features
from gvf.storage.files import load_tensors
from gvf.workspace import Workspace

IMAGE_TOKENS, IMAGE_MAPS = "image_tokens", "image_maps"
TURNED_VOXELS, TURNED_FEATURES, TURNED_COUNTS = "turned_voxels", "turned_voxel_features", "turned_counts"


@dataclass(frozen=True)
class ImageExamples:
    """A clip's V conditioning images of its first frame.

    tokens: [V, K, D] float16, as the encoder gives them; maps: [V, C, S, S] float16 of the crops, None where none are kept.
    voxels: of each image's shape, [M, 3] int32; features: on them, [M, F] float16. Of the orientation `object` all shapes are
    the same.
    """

    tokens: Tensor
    maps: Tensor | None
    voxels: tuple[Tensor, ...]
    features: tuple[Tensor, ...]

    @classmethod
    def of(cls, images: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> ImageExamples:
        """Return the examples in a clip's arrays. images: of `data/image_features`; own: its features in its own axes."""
        tokens, maps = images[IMAGE_TOKENS], images.get(IMAGE_MAPS)
        if TURNED_COUNTS not in images:
            return cls(tokens, maps, (own["voxels"],) * len(tokens), (own["voxel_features"],) * len(tokens))
        counts = images[TURNED_COUNTS].tolist()
        return cls(tokens, maps, images[TURNED_VOXELS].split(counts), images[TURNED_FEATURES].split(counts))

    def occupancy(self, image: int, resolution: int) -> Tensor:
        """Return which voxels of a grid the shape in an image touches, bool [S, S, S] with S = resolution."""
        grid = torch.zeros((resolution,) * 3, dtype=torch.bool)
        grid[self.voxels[image].long().unbind(1)] = True
        return grid


def load_image_examples(workspace: Workspace, clip_id: str) -> ImageExamples:
    """Return a clip's conditioning images with their shapes."""
    path = workspace.image_features / f"{clip_id}.safetensors"
    images = workspace.cached(("images", clip_id), lambda: load_tensors(path))
    return ImageExamples.of(images, {} if TURNED_COUNTS in images else load_features(workspace, clip_id))


def turned_arrays(voxels: list[Tensor], features: list[Tensor]) -> dict[str, Tensor]:
    """Return the shapes of all images as arrays to be stored. voxels: [M, 3] and features: [M, F] of each."""
    return {
        TURNED_VOXELS: torch.cat(voxels),
        TURNED_FEATURES: torch.cat(features).half(),
        TURNED_COUNTS: torch.tensor([len(part) for part in voxels]),
    }
