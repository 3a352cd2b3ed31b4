"""The classes of metrics: name and display, what is compared, and which published weights are needed.

Imports nothing heavy, so that the names of all metrics can be listed without PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeVar

from gvf.metrics.absence import Absence

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from torch import Tensor

Value = TypeVar("Value")


@dataclass(frozen=True)
class RequiredWeights:
    """The published weights of a metric.

    find: returns their file or folder on this machine, or None. absence: returns why the metric cannot be measured
    here, or None when the weights are present. load: raises UserError when they are present but damaged.
    """

    find: Callable[[], Path | None]
    absence: Callable[[], Absence | None]
    load: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What all metrics have in common.

    title: its heading in tables. unit: of its axis in charts, empty for plain numbers. format: of `str.format`.
    definition: one sentence for captions. weights: None when it needs none. basis: what it is computed on.
    """

    name: str
    title: str
    definition: str
    higher_is_better: bool
    format: str
    unit: str = ""
    weights: RequiredWeights | None = None
    basis: ClassVar[str]

    @property
    def axis_title(self) -> str:
        """Return the title with the unit, for the axis of a chart."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title

    def absence(self) -> Absence | None:
        """Return why the metric's weights keep it from being measured on this machine, or None when nothing does."""
        return self.weights.absence() if self.weights else None


@dataclass(frozen=True, kw_only=True)
class ImageMetric(Metric):
    """A metric with one value per image. compute: maps image pairs to values [P], or to the reason why there are none.

    A value may be NaN where an image has nothing to compare (`psnr_object` of an empty mask); means leave it out.
    """

    basis: ClassVar[str] = "image pairs"
    compute: Callable[[ImagePairs], Tensor | Absence]


@dataclass(frozen=True, kw_only=True)
class MaskedImageMetric(ImageMetric):
    """A metric with one value per image that needs the ground truth's foreground mask."""

    basis: ClassVar[str] = "image pairs with ground-truth alpha"


@dataclass(frozen=True, kw_only=True)
class VideoSetMetric(Metric):
    """A distance between two sets of videos.

    features: maps the frames of one video (T arrays [H, W, 3] from 0 to 255, over white) and a device to one vector [D]
    on the CPU. distance: maps these vectors of predictions and of ground truth, each [O, V, D] (objects, views), to one
    number, or to the reason why there is none.
    """

    basis: ClassVar[str] = "sets of videos"
    features: Callable[[Sequence[np.ndarray], torch.device], Tensor]
    distance: Callable[[Tensor, Tensor], float | Absence]


@dataclass(frozen=True, kw_only=True)
class PointMetric(Metric):
    """A distance between moving point clouds. compute: maps a prediction [T, N, 3] and ground truth [T, M, 3] to [T]."""

    basis: ClassVar[str] = "point clouds"
    compute: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class ImagePairs:
    """Predicted images beside the ground truth, both composited over white.

    prediction, ground_truth: float32 [P, H, W, 3] from 0 to `white`. foreground: bool [P, H, W], true where the ground
    truth's alpha is above zero; None when it has no alpha. data_range: value range for PSNR and SSIM; with None, it is
    taken from the images themselves, as each metric says.
    """

    prediction: Tensor
    ground_truth: Tensor
    foreground: Tensor | None = None
    white: float = 1.0
    data_range: float | None = 1.0
    _shared: dict[str, object] = field(default_factory=dict, repr=False)

    @property
    def unit(self) -> tuple[Tensor, Tensor]:
        """Return prediction and ground truth with values in [0, 1]."""
        if self.white == 1.0:
            return self.prediction, self.ground_truth
        return self.prediction / self.white, self.ground_truth / self.white

    def shared(self, key: str, compute: Callable[[ImagePairs], Value]) -> Value:
        """Return what `compute` gives for these images; it is computed once for all metrics that name the same key."""
        if key not in self._shared:
            self._shared[key] = compute(self)
        return self._shared[key]  # type: ignore[return-value]
