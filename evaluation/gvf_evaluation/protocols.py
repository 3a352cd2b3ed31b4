"""Protocols by name: how rendered frames become the values of a table. The same metric differs between protocols.

A protocol is data and two functions; to add one whose metrics are among `MEASURES`, write its `Protocol` and list it in
`PROTOCOLS`. Not supported yet: other metrics (FID-VID of stag4d, DreamSim of v2m4), a video network with weights of its own
(`gvf_evaluation.measures` looks for I3D's under `fvd`), FVD along views or the 4D raster (sv4d), since a feature vector
describes one view's video, and alignment of an object before it is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gvf.errors import UserError
from gvf.geometry.camera import CONSISTENT4D_ORBIT, Orbit

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

FRAME_MEASURES = ("psnr", "ssim", "ssim_cropped", "lpips", "lpips_alex", "clip")  # one value per frame
MEASURES = (*FRAME_MEASURES, "fvd")


@dataclass(frozen=True)
class Protocol:
    """One way to score frames.

    name: on the command line and in tables. data: what its published values were measured on, and where to get it.
    objects: names of the published test set, empty where its list is not public. cameras, num_frames: of every object.
    measures: those of `MEASURES` that it defines. `ssim` counts all pixels, as torchmetrics has done since 1.4.2
    (September 2024); `ssim_cropped` leaves out a border of 5 pixels, as torchmetrics did when the published values were
    measured. image_size: frames are composited over white and resized to it with PIL's default filter before any image
    metric. pixel_range: value of a white pixel for PSNR and SSIM. data_range: value range of both; with None, PSNR uses
    the range of each ground-truth frame, and SSIM the larger range of each pair of frames. Image metrics are averaged
    over frames, then views, then objects.
    video_features: maps the frames of one video (T arrays uint8 [H, W, 3] over white, in the size of their files) and a
    device to one vector [D] on the CPU. fvd: maps these vectors [O, V, D] (objects, views) of predictions and of ground
    truth to one number; fvd_variant describes it in words.
    """

    name: str
    data: str
    objects: tuple[str, ...]
    cameras: Orbit
    num_frames: int
    measures: tuple[str, ...]
    image_size: int
    pixel_range: float
    data_range: float | None
    video_features: Callable[[Sequence[np.ndarray], torch.device], Tensor]
    fvd: Callable[[Tensor, Tensor], float]
    fvd_variant: str

    @property
    def num_views(self) -> int:
        """Evaluation views of an object."""
        return len(self.cameras.azimuths)


def _i3d_logits(frames: Sequence[np.ndarray], device: torch.device) -> Tensor:
    from gvf.metrics.fvd import video_logits

    return video_logits(frames, device)


def _mean_over_videos(predictions: Tensor, truths: Tensor) -> float:
    from gvf.metrics.fvd import single_video_distance

    return float(single_video_distance(predictions, truths).mean(-1).mean())


def _pooled(predictions: Tensor, truths: Tensor) -> float:
    from gvf.metrics.fvd import frechet_distance

    return frechet_distance(predictions.flatten(0, 1), truths.flatten(0, 1))


CONSISTENT4D = Protocol(
    name="consistent4d",
    data="the 7 objects of Consistent4D's test set (github.com/yanqinJiang/Consistent4D, README, Evaluation; archive: "
    "drive.google.com/file/d/1jn18kA2FfKMnyQ6fisIn8rhBI0dr3NFk)",
    objects=("aurorus", "crocodile", "guppie", "monster", "pistol", "skull", "trump"),
    cameras=CONSISTENT4D_ORBIT,
    num_frames=32,
    measures=MEASURES,
    image_size=512,
    pixel_range=255.0,
    data_range=None,
    video_features=_i3d_logits,
    fvd=_mean_over_videos,
    fvd_variant="of each video alone, mean over views, then objects",
)
GVF = Protocol(
    name="gvf",
    data="100 objects: Consistent4D's 7 and 93 of Objaverse-XL (list: data/objaverse_xl_test_93.txt of "
    "huggingface.co/BwZhang/GaussianVariationFieldDiffusion; its renders are not public)",
    objects=(),
    cameras=CONSISTENT4D_ORBIT,
    num_frames=32,
    measures=MEASURES,
    image_size=512,
    pixel_range=1.0,
    data_range=1.0,
    video_features=_i3d_logits,
    fvd=_pooled,
    fvd_variant="of all videos pooled",
)
PROTOCOLS = {protocol.name: protocol for protocol in (CONSISTENT4D, GVF)}


def find_protocol(name: str) -> Protocol:
    """The protocol of that name. Raises UserError that lists them."""
    if name not in PROTOCOLS:
        raise UserError(f"There is no protocol {name!r}. There are {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
