"""Conditioning images of a batch, which the trainings of both flows read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gvf.data.image_examples import ImageExamples
from gvf.models.image_to_3d.flow_transformer import ImageCondition
from gvf.models.image_to_3d.image_features import ImageFeatures

ReadExamples = Callable[[str], ImageExamples]
"""Takes a clip's id; returns its conditioning images, as `gvf.data.image_examples.load_image_examples` does."""


def draw_views(examples: Sequence[ImageExamples], generator: torch.Generator) -> list[int]:
    """Draw the number of one image for each clip."""
    return [int(torch.randint(len(one.tokens), (), generator=generator)) for one in examples]


def image_features(chosen: Sequence[tuple[ImageExamples, int]]) -> ImageFeatures:
    """Return the features of one image of each of B clips, as a batch. chosen: a clip's images, and the number of one."""
    tokens = torch.stack([one.tokens[view].float() for one, view in chosen])
    maps = [None if one.maps is None else one.maps[view].float() for one, view in chosen]
    kept = [part for part in maps if part is not None]
    return ImageFeatures(tokens, torch.stack(kept) if len(kept) == len(maps) else None)


def without_some(image: ImageCondition, dropped: Tensor, items: Tensor) -> ImageCondition:
    """Return a condition with zeros for some of its B images. dropped: [B] bool; items: the image of each aligned row."""
    kept = (~dropped).float()
    return ImageCondition(
        None if image.tokens is None else image.tokens * kept[:, None, None],
        None if image.aligned is None else image.aligned * kept[items, None],
    )
