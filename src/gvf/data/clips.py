"""Readers of what the stages wrote about each clip, as tensors; results stay in the workspace's bounded cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from gvf.data.manifest import ACCEPTED, read_manifest
from gvf.data.rejections import NAME, read_rejections
from gvf.errors import UserError
from gvf.storage.files import load_npz, load_tensors
from gvf.workspace import Workspace


@dataclass(frozen=True)
class Views:
    """Images and their cameras.

    rgba: uint8 [..., H, W, 4], straight alpha. viewmats: [..., 4, 4] world-to-camera. Ks: [..., 3, 3], normalised.
    """

    rgba: Tensor
    viewmats: Tensor
    Ks: Tensor


def accepted_clips(workspace: Workspace, after: Path | None = None) -> pd.DataFrame:
    """Return the curated manifest's rows of accepted clips, without those that a stage after curation rejected.

    after: output folder of the last stage that processed the clips, None for curation itself.
    """
    clips = read_manifest(workspace.curated_manifest)
    left_out = set() if after is None else {rejection.clip_id for rejection in read_rejections(after)}
    return clips[(clips["decision"] == ACCEPTED) & ~clips["clip_id"].isin(left_out)]


def clip_ids(workspace: Workspace, split: str, after: Path) -> list[str]:
    """Return the ids of the clips of `split` (train or held_out) that remain after the stage that wrote `after`.

    They are in manifest order. Raises UserError when there are none.
    """
    clips = accepted_clips(workspace, after)
    chosen = clips[clips["split"] == split]["clip_id"].tolist()
    if not chosen:
        message = f"no accepted clip in split {split!r}; see its column `reason`, and {after / NAME} for later stages."
        raise UserError(f"{workspace.curated_manifest}: {message}")
    return chosen


def clip_groups(workspace: Workspace, clips: Sequence[str], column: str) -> list[str]:
    """Return what the curated manifest says of each clip in `column`: kind, skeleton or asset."""
    table = read_manifest(workspace.curated_manifest).set_index("clip_id")
    return table.loc[list(clips), column].tolist()


def load_views(workspace: Workspace, clip_id: str, kind: str) -> Views:
    """Return a clip's views of one kind: `canonical` [V, ...], `train` [T, V, ...], `video` [A, T, ...] or `eval` [T, V, ...].

    Cameras have the axes of the images, except for `video` (one camera per video) and `eval` (one set for all frames).
    """

    def load() -> Views:
        names = [f"{kind}_{part}" for part in ("rgba", "viewmats", "Ks")]
        arrays = load_npz(workspace.renders / f"{clip_id}.npz", names)
        rgba, viewmats, Ks = (torch.from_numpy(arrays[name]) for name in names)
        return Views(rgba, viewmats.float(), Ks.float())

    return workspace.cached(("views", clip_id, kind), load)


def load_features(workspace: Workspace, clip_id: str) -> dict[str, Tensor]:
    """Return a clip's `voxels` [M, 3] int32, `voxel_features` [M, F] float16 and `video_tokens` [A, T, K, D] float16."""
    path = workspace.features / f"{clip_id}.safetensors"
    return workspace.cached(("features", clip_id), lambda: load_tensors(path))


def load_points(workspace: Workspace, clip_id: str) -> Tensor:
    """Return a clip's surface points over time, [T, N, 3] float32, in object units."""
    path = workspace.curated / f"{clip_id}.npz"
    return workspace.cached(("points", clip_id), lambda: torch.from_numpy(load_npz(path, ["points"])["points"]))


def pick_views(views: Views, count: int, generator: torch.Generator) -> Views:
    """Return `count` different views of [V, ...], in random order, or all of them when there are fewer."""
    chosen = torch.randperm(len(views.rgba), generator=generator)[:count]
    return Views(views.rgba[chosen], views.viewmats[chosen], views.Ks[chosen])


def on_white(rgba: Tensor) -> Tensor:
    """Return uint8 RGBA with straight alpha [..., H, W, 4] over white, as float RGB in [0, 1], [..., H, W, 3]."""
    image = rgba.float() / 255.0
    alpha = image[..., 3:]
    return image[..., :3] * alpha + (1.0 - alpha)
