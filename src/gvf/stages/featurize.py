"""Stage `featurize`: inputs of E_GS, of the diffusion transformer and of the image-to-3D networks.

Writes `data/features/<clip_id>.safetensors` and `data/image_features/<clip_id>.safetensors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from gvf.config.featurize import FeaturizeConfig
from gvf.config.image_to_3d import ImageTo3dConfig
from gvf.data.clips import Views, accepted_clips
from gvf.data.image_examples import turned_arrays
from gvf.data.mesh import AnimatedMesh
from gvf.data.rejections import record_rejections
from gvf.devices import resolve_device
from gvf.errors import StageError
from gvf.execution.clip_map import Rejected, map_clips
from gvf.models.encoders.image_encoder import ImageEncoder, build_image_encoder
from gvf.pipelines.image_examples import encoded_images, turned_voxels
from gvf.pipelines.mesh_to_canonical import Surface, Voxels, features_on_voxels, video_tokens
from gvf.storage.files import fresh_directory, load_npz, save_tensors
from gvf.workspace import Workspace

if TYPE_CHECKING:
    from gvf.config.params import Params


@dataclass(frozen=True)
class FeaturizeTask:
    """One clip to be encoded into `folder`, its conditioning images into `image_folder`."""

    clip_id: str
    workspace: Workspace
    folder: Path
    image_folder: Path
    config: FeaturizeConfig
    images: ImageTo3dConfig
    device: str


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Encode every rendered clip. Raises UserError if the encoder's weights are missing, StageError if every clip fails."""
    rendered = accepted_clips(workspace, after=workspace.renders)["clip_id"].tolist()
    if not rendered:
        raise StageError(f"{workspace.curated_manifest}: no accepted clip; see its column `reason`.")
    device = resolve_device(params.run.device).type
    build_image_encoder(params.featurize, torch.device("cpu"))  # reports missing weights once, here
    with fresh_directory(workspace.features) as folder, fresh_directory(workspace.image_features) as image_folder:
        tasks = [
            FeaturizeTask(clip_id, workspace, folder, image_folder, params.featurize, params.image_to_3d, device)
            for clip_id in rendered
        ]
        results = map_clips(featurize_clip, tasks, params.execution, "featurize", lambda task: task.clip_id)
        folders = (folder, image_folder)
        rejected, _ = (record_rejections(place, "featurize", results, after=workspace.renders) for place in folders)
        num_voxels = [result for result in results if not isinstance(result, Rejected)]
        megabytes, image_megabytes = (sum(path.stat().st_size for path in place.iterdir()) / 1e6 for place in folders)
    return {
        "clips": float(len(num_voxels)),
        "rejected": float(rejected),
        "mean_voxels": float(np.mean(num_voxels)),
        "max_voxels": float(max(num_voxels)),
        "megabytes": megabytes,
        "image_megabytes": image_megabytes,
    }


def featurize_clip(task: FeaturizeTask) -> int:
    """Encode one clip; returns the number of its active voxels."""
    config, device = task.config, torch.device(task.device)
    encoder = _encoder(config, task.device)
    mesh = AnimatedMesh.load(task.workspace.curated / f"{task.clip_id}.npz")
    names = ["canonical_rgba", "canonical_viewmats", "canonical_Ks"]
    renders = load_npz(
        task.workspace.renders / f"{task.clip_id}.npz", [*names, "video_rgba", "image_rgba", "image_viewmats"]
    )
    canonical = Views(*(torch.from_numpy(renders[name]) for name in names))
    surface = Surface(mesh.vertices[0], mesh.faces, mesh.double_sided)
    surface.demand_shape()
    turns = task.images.orientation == "view"
    grids = [
        Voxels.of(surface, config.voxel_resolution),
        *(turned_voxels(surface, renders["image_viewmats"], config.voxel_resolution) if turns else ()),
    ]
    features = features_on_voxels(encoder, surface, grids, canonical, config.voxel_weighting, config.batch_size, device)
    voxels = [torch.from_numpy(grid.indices) for grid in grids]
    tokens = video_tokens(encoder, torch.from_numpy(renders["video_rgba"]), config.batch_size, device)
    save_tensors(
        task.folder / f"{task.clip_id}.safetensors",
        {"voxels": voxels[0], "voxel_features": features[0].half(), "video_tokens": tokens.half()},
    )
    images = encoded_images(encoder, renders["image_rgba"], task.images, config.batch_size, device)
    shapes = turned_arrays(voxels[1:], features[1:]) if turns else {}
    save_tensors(task.image_folder / f"{task.clip_id}.safetensors", images | shapes)
    return len(voxels[0])


@lru_cache(maxsize=1)
def _encoder(config: FeaturizeConfig, device: str) -> ImageEncoder:
    """Return the encoder, built once per process."""
    return build_image_encoder(config, torch.device(device))
