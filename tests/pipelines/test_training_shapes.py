"""References that training objects alone give: the nearest image and the mean shape, worked out by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from gvf.data.image_examples import ImageExamples
from gvf.pipelines.training_shapes import TrainingImage, mean_shape, nearest_images


def examples(*images: list[list[float]]) -> ImageExamples:
    return ImageExamples(torch.tensor(images, dtype=torch.float16), None, (), ())


def test_the_nearest_image_is_that_of_the_highest_cosine_after_centring() -> None:
    """Two tokens of two channels. The common offset of 100 would decide the cosine, if it were not subtracted."""
    training = {
        "a": examples([[101.0, 100.0], [100.0, 100.0]], [[99.0, 100.0], [100.0, 100.0]]),
        "b": examples([[100.0, 100.0], [100.0, 103.0]], [[100.0, 100.0], [100.0, 97.0]]),
    }
    queries = torch.tensor(
        [
            [[100.0, 100.0], [101.0, 94.0]],  # (0, 0; 1, -6) from the mean: cosine 6 / sqrt(37) with the last image
            [[100.5, 100.0], [100.0, 100.0]],  # half as far from the mean as the first image, in its direction
        ]
    )
    found = nearest_images(queries, list(training), training.__getitem__)
    assert found == [TrainingImage("b", 1), TrainingImage("a", 0)]


def test_the_mean_shape_has_the_share_of_the_highest_mean_iou() -> None:
    """Cells 0, 1 and 2 are in three, two and one of three shapes.

    IoU with the shapes {0}, {0, 1}, {0, 1, 2} on average: {0}: (1 + 1/2 + 1/3)/3 = 0.611; {0, 1}: (1/2 + 1 + 2/3)/3 = 0.722;
    {0, 1, 2}: (1/3 + 2/3 + 1)/3 = 0.667; all eight cells: (1 + 2 + 3)/8/3 = 0.25.
    """

    def shapes() -> list[Tensor]:
        return [(torch.arange(8) <= last).reshape(2, 2, 2) for last in range(3)]

    assert mean_shape(shapes).flatten().tolist() == [True, True, *[False] * 6]


def test_the_mean_shape_of_equal_shapes_is_that_shape() -> None:
    shape = torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(0)) > 0.5
    assert torch.equal(mean_shape(lambda: [shape, shape]), shape)
