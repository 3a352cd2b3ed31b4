"""Where the stages keep what belongs to a clip, and how to read it back as tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import pandas as pd
import torch
from cachetools import LRUCache, cached
from torch import Tensor

from gvf.data.manifest import ACCEPTED, CURATED_MANIFEST, read_manifest
from gvf.data.rejections import NAME, read_rejections
from gvf.errors import UserError
from gvf.storage.files import load_npz, load_tensors

CURATED = Path("data/curated")
RENDERS = Path("data/renders")
FEATURES = Path("data/features")
LATENTS = Path("data/latents")
PREDICTIONS = Path("data/predictions")
Value = TypeVar("Value")

MEMORY_BYTES = 4 << 30
"""How much of what was read stays in memory: all of a small data set, the clips last used of a large one."""


@dataclass(frozen=True)
class Views:
    """Pictures and their cameras.

    rgba: uint8 [..., H, W, 4], straight alpha. viewmats: [..., 4, 4] world-to-camera. Ks: [..., 3, 3], normalised.
    """

    rgba: Tensor
    viewmats: Tensor
    Ks: Tensor


def _num_bytes(value: Any) -> int:
    """Return the size in bytes of a tensor, or of all tensors in a dict or a dataclass."""
    if isinstance(value, Tensor):
        return value.nbytes
    tensors = value if isinstance(value, dict) else vars(value)
    return sum(tensor.nbytes for tensor in tensors.values())


_memory: LRUCache[object, object] = LRUCache(MEMORY_BYTES, getsizeof=_num_bytes)
_lock = Lock()  # batches are loaded by several threads


def kept_in_memory(kind: str) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Cache the results of a function that reads data of a clip; all results share MEMORY_BYTES, evicted by least recent use.

    kind: distinguishes the results of different functions.
    """
    return cached(_memory, lock=_lock, key=lambda *arguments: (kind, *arguments))


def accepted_clips(after: Path | None = None) -> pd.DataFrame:
    """Return the curated manifest's rows of accepted clips, without those that a stage after curation rejected.

    after: output folder of the last stage that processed the clips, None for curation itself.
    """
    clips = read_manifest(CURATED_MANIFEST)
    left_out = set() if after is None else {rejection.clip_id for rejection in read_rejections(after)}
    return clips[(clips["decision"] == ACCEPTED) & ~clips["clip_id"].isin(left_out)]


def clip_ids(split: str, after: Path) -> list[str]:
    """Return the ids of the clips of `split` (train or held_out) that remain after the stage that wrote `after`.

    They are in manifest order. Raises UserError when there are none.
    """
    clips = accepted_clips(after)
    chosen = clips[clips["split"] == split]["clip_id"].tolist()
    if not chosen:
        message = f"no accepted clip in split {split!r}; see its column `reason`, and {after / NAME} for later stages."
        raise UserError(f"{CURATED_MANIFEST}: {message}")
    return chosen


@kept_in_memory("views")
def load_views(clip_id: str, kind: str) -> Views:
    """Views of one kind of a clip's renders: `canonical` [V, ...], `train` [T, V, ...], `video` [A, T, ...] or `eval` [T, V, ...].

    Cameras have the axes of the pictures, except `video` (one camera a video) and `eval` (one set for all frames).
    """
    names = [f"{kind}_{part}" for part in ("rgba", "viewmats", "Ks")]
    arrays = load_npz(RENDERS / f"{clip_id}.npz", names)
    rgba, viewmats, Ks = (torch.from_numpy(arrays[name]) for name in names)
    return Views(rgba, viewmats.float(), Ks.float())


@kept_in_memory("features")
def load_features(clip_id: str) -> dict[str, Tensor]:
    """`voxels` [M, 3] int32, `voxel_features` [M, F] float16, `video_tokens` [A, T, K, D] float16 of a clip."""
    return load_tensors(FEATURES / f"{clip_id}.safetensors")


@kept_in_memory("points")
def load_points(clip_id: str) -> Tensor:
    """Surface points of a clip over time, [T, N, 3] float32, object units."""
    return torch.from_numpy(load_npz(CURATED / f"{clip_id}.npz", ["points"])["points"])


def pick_views(views: Views, count: int, generator: torch.Generator) -> Views:
    """`count` different views of [V, ...], or all of them in another order when there are fewer."""
    chosen = torch.randperm(len(views.rgba), generator=generator)[:count]
    return Views(views.rgba[chosen], views.viewmats[chosen], views.Ks[chosen])


def on_white(rgba: Tensor) -> Tensor:
    """uint8 RGBA with straight alpha [..., H, W, 4] over white: float RGB in [0, 1], [..., H, W, 3]."""
    picture = rgba.float() / 255.0
    alpha = picture[..., 3:]
    return picture[..., :3] * alpha + (1.0 - alpha)
