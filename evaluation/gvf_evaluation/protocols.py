"""Protocols by name: how rendered frames become the values of a table. The same metric differs between protocols.

A protocol is data; to add one whose metrics are in `gvf.metrics.table`, write its `Protocol` and list it in `PROTOCOLS`. A
metric that a protocol computes in its own way is a copy of the table's entry (`dataclasses.replace`). Not supported: metrics
that the table lacks (FID-VID of stag4d, DreamSim of v2m4), FVD along views or of the 4D raster (sv4d), since a feature
vector describes one view's video, and alignment of an object before it is scored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gvf.errors import UserError
from gvf.geometry.camera import CONSISTENT4D_ORBIT, Orbit
from gvf.metrics.fvd import FVD
from gvf.metrics.metric import ImageMetric, Metric
from gvf.metrics.table import METRICS

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Protocol:
    """One way to score frames.

    name: on the command line and in tables. data: what its published values were measured on, and where to get it.
    objects: names of the published test set, empty where its list is not public. cameras, num_frames: of every object.
    image_size: frames are composited over white and resized to it with PIL's default filter before any image metric.
    white: value of a white pixel for PSNR and SSIM. data_range: value range of both; with None, PSNR uses the range of each
    ground-truth frame, and SSIM the larger range of each pair of frames. Image metrics are averaged over frames, then
    views, then objects; video networks see the frames in the size of their files. fvd_variant: describes its FVD.
    """

    name: str
    data: str
    objects: tuple[str, ...]
    cameras: Orbit
    num_frames: int
    metrics: tuple[Metric, ...]
    image_size: int
    white: float
    data_range: float | None
    fvd_variant: str

    @property
    def num_views(self) -> int:
        """Return the number of scored views of an object."""
        return len(self.cameras.azimuths)


def _mean_over_videos(predictions: Tensor, ground_truth: Tensor) -> float:
    from gvf.metrics.fvd import single_video_distance

    return float(single_video_distance(predictions, ground_truth).mean(-1).mean())


_IMAGE_METRICS = tuple(metric for metric in METRICS.values() if isinstance(metric, ImageMetric))

CONSISTENT4D = Protocol(
    name="consistent4d",
    data="the 7 objects of Consistent4D's test set (github.com/yanqinJiang/Consistent4D, README, Evaluation; archive: "
    "drive.google.com/file/d/1jn18kA2FfKMnyQ6fisIn8rhBI0dr3NFk)",
    objects=("aurorus", "crocodile", "guppie", "monster", "pistol", "skull", "trump"),
    cameras=CONSISTENT4D_ORBIT,
    num_frames=32,
    metrics=(*_IMAGE_METRICS, replace(FVD, distance=_mean_over_videos)),
    image_size=512,
    white=255.0,
    data_range=None,
    fvd_variant="of each video alone, mean over views, then objects",
)
GVF = Protocol(
    name="gvf",
    data="100 objects: Consistent4D's 7 and 93 of Objaverse-XL (list: data/objaverse_xl_test_93.txt of "
    "huggingface.co/BwZhang/GaussianVariationFieldDiffusion; its renders are not public)",
    objects=(),
    cameras=CONSISTENT4D_ORBIT,
    num_frames=32,
    metrics=(*_IMAGE_METRICS, FVD),
    image_size=512,
    white=1.0,
    data_range=1.0,
    fvd_variant="of all videos pooled",
)
PROTOCOLS = {protocol.name: protocol for protocol in (CONSISTENT4D, GVF)}


def find_protocol(name: str) -> Protocol:
    """Return the protocol of that name. Raises UserError that lists the known ones."""
    if name not in PROTOCOLS:
        raise UserError(f"There is no protocol {name!r}. Choose one of {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
