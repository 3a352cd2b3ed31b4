"""What training objects alone tell of the object in an image: the most similar one, and the mean shape.

These are the references that networks from an image to 3D have to beat: the first is what memorising would give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gvf.data.image_examples import ImageExamples

ReadExamples = Callable[[str], ImageExamples]


@dataclass(frozen=True)
class TrainingImage:
    """One conditioning image of a training clip."""

    clip: str
    image: int


def nearest_images(queries: Tensor, clips: Sequence[str], read: ReadExamples) -> list[TrainingImage]:
    """Return the training image that is most similar to each of Q images.

    queries: tokens [Q, K, D]. read: gives a training clip's examples. The similarity is the cosine of all tokens of two images,
    each minus the mean of the training images' tokens at the same place. Clips are read one at a time, twice.
    """
    mean, count = torch.zeros(queries.shape[1:], dtype=torch.float64), 0
    for clip in clips:
        tokens = read(clip).tokens
        mean, count = mean + tokens.double().sum(0), count + len(tokens)
    mean = (mean / count).float()

    def directions(tokens: Tensor) -> Tensor:
        return F.normalize((tokens.float() - mean).flatten(1), dim=1)

    wanted = directions(queries)
    best = torch.full((len(queries),), -torch.inf)
    found = [TrainingImage("", 0)] * len(queries)
    for clip in clips:
        similarity, image = (wanted @ directions(read(clip).tokens).T).max(dim=1)
        for query in (similarity > best).nonzero().flatten().tolist():
            found[query] = TrainingImage(clip, int(image[query]))
        best = torch.maximum(best, similarity)
    return found


def mean_shape(occupancies: Callable[[], Iterable[Tensor]]) -> Tensor:
    """Return the voxels that at least a certain share of shapes has, bool [S, S, S].

    The share is the one at which the mean IoU with these shapes is largest. occupancies: iterates over the shapes, each bool
    [S, S, S] and not empty; it is called twice.
    """
    shapes = iter(occupancies())
    counts = next(shapes).int()
    for occupancy in shapes:
        counts = counts + occupancy
    ordered, order = counts.flatten().sort(descending=True, stable=True)
    last = torch.cat([(ordered[1:] != ordered[:-1]).nonzero().flatten(), torch.tensor([len(ordered) - 1])])
    total = torch.zeros(len(last), dtype=torch.float64)
    for occupancy in occupancies():
        own = occupancy.flatten()[order].cumsum(0)
        total += own[last] / (own[-1] + last + 1 - own[last])  # intersection over union with the first `last + 1` cells
    shape = torch.zeros_like(counts, dtype=torch.bool)
    shape.view(-1)[order[: int(last[total.argmax()]) + 1]] = True
    return shape
