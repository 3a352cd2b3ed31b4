"""The input image as the alignment compares it: the object on a small canvas, and the loss of renders against it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gvf.errors import UserError
from gvf.geometry.resampling import resampled

GREY = 0.5  # behind the object, so that neither white nor black objects vanish
MARGIN = 1.3  # side of the canvas / longer side of the object's box
_SMALLEST_OBJECT = 16  # pixels of the input


@dataclass(frozen=True)
class Target:
    """The object of an image, cropped to a canvas around it. left, top, side: the canvas in shares of the image.

    image: uint8 [S, S, 4], straight alpha, of which the canvas is a part.
    """

    image: Tensor
    left: float
    top: float
    side: float

    @classmethod
    def of(cls, image: Tensor) -> Target:
        """Find the object. Raises UserError for images without one."""
        if image.dim() != 3 or image.shape[0] != image.shape[1] or image.shape[2] != 4 or image.dtype != torch.uint8:
            raise UserError(f"align: the image needs shape [S, S, 4], uint8, found {list(image.shape)}, {image.dtype}.")
        size = image.shape[0]
        mask = image[..., 3] > 127
        if int(mask.sum()) < _SMALLEST_OBJECT:
            raise UserError(
                "align: the image shows no object: fewer than 16 of its pixels are opaque. Start from a frame that "
                "shows one, or check the matting."
            )
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        top, bottom = float(rows.min()), float(rows.max()) + 1.0
        left, right = float(columns.min()), float(columns.max()) + 1.0
        side = MARGIN * max(bottom - top, right - left)
        return cls(image, ((left + right - side) / 2) / size, ((top + bottom - side) / 2) / size, side / size)

    def canvas(self, size: int, device: torch.device) -> Tensor:
        """Return the canvas [size, size, 4] float32: RGB premultiplied by alpha, and alpha."""
        pixels = self.image.shape[0]
        part = resampled(self.image, self.left * pixels, self.top * pixels, self.side * pixels, size)
        return premultiplied(part).to(device)


def premultiplied(images: Tensor) -> Tensor:
    """Return uint8 images [..., 4] as floats in [0, 1] with premultiplied colours."""
    values = images.float() / 255.0
    return torch.cat([values[..., :3] * values[..., 3:], values[..., 3:]], dim=-1)


def differences(images: Tensor, target: Tensor) -> Tensor:
    """Return the differences [..., P, P, 4] of colours over grey and of alphas. Both: [..., P, P, 4], premultiplied."""
    change = images - target
    return torch.cat([change[..., :3] - GREY * change[..., 3:], change[..., 3:]], dim=-1)


def losses(images: Tensor, target: Tensor) -> Tensor:
    """Return how badly images [..., P, P, 4] fit the target [P, P, 4]: 0 for a perfect fit.

    The mean absolute difference of colours over grey, plus 1 - IoU of the masks, both over the union of the soft masks: the
    object's size on the canvas does not matter.
    """
    change = differences(images, target).abs()
    union = torch.maximum(images[..., 3], target[..., 3]).sum((-1, -2)).clamp(min=1e-6)
    return (change[..., :3].mean(-1) + change[..., 3]).sum((-1, -2)) / union
