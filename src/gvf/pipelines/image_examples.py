"""What image-to-3D networks learn from: conditioning images as an encoder sees them, and the shape that each of them shows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gvf.config.image_to_3d import ImageTo3dConfig
from gvf.data.image_examples import IMAGE_MAPS, IMAGE_TOKENS
from gvf.errors import ClipError, UserError
from gvf.geometry.camera import positions
from gvf.models.encoders.image_encoder import ImageEncoder
from gvf.pipelines.mesh_to_canonical import Surface, Voxels
from gvf.pipelines.training_axes import TrainingAxes
from gvf.video.object_crop import object_image


def encoded_images(
    encoder: ImageEncoder, images: np.ndarray, config: ImageTo3dConfig, batch_size: int, device: torch.device
) -> dict[str, Tensor]:
    """Return float16 tokens [V, K, D], and maps [V, C, S, S] where some are kept, of images [V, H, W, 4] uint8.

    batch_size: images encoded at once. Raises ClipError when an image shows nothing.
    """
    try:
        crops = torch.from_numpy(np.stack([object_image(image, config.image_size) for image in images]))
    except UserError:
        raise ClipError("invalid", "a conditioning image has no opaque pixel, so it shows no object.") from None
    batches = [batch.to(device) for batch in crops.split(batch_size)]
    arrays = {IMAGE_TOKENS: torch.cat([encoder.object_tokens(batch).half().cpu() for batch in batches])}
    if config.map_size is not None:
        maps = [F.adaptive_avg_pool2d(encoder.voxel_maps(batch), config.map_size) for batch in batches]
        arrays[IMAGE_MAPS] = torch.cat([part.half().cpu() for part in maps])
    return arrays


def turned_voxels(surface: Surface, viewmats: np.ndarray, resolution: int) -> list[Voxels]:
    """Return the voxels of a shape as each camera sees it: turned so that the camera is at azimuth 0, in the unit box.

    viewmats: [V, 4, 4], in the shape's own axes.
    """
    grids = []
    for viewmat in viewmats:
        axes = TrainingAxes.around(surface.vertices.astype(np.float64), azimuth_of(viewmat))
        turned = Voxels.of(surface._replace(vertices=axes.entered(surface.vertices)), resolution)
        grids.append(Voxels(turned.indices, axes.returned(turned.centers), axes.scale / resolution))
    return grids


def azimuth_of(viewmat: np.ndarray) -> float:
    """Return the azimuth, in degrees, at which a camera [4, 4] around the origin is."""
    x, y, _ = positions(viewmat.astype(np.float64))
    return float(np.rad2deg(np.arctan2(x, -y)))
