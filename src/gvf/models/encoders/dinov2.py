"""DINOv2 ViT-L/14 with registers, used exactly as the published E_GS and DiT expect it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gvf.errors import UserError
from gvf.models.encoders.maps import Maps
from gvf.models.encoders.preprocessing import PREPROCESSING
from gvf.storage.model_folders import load_model
from gvf.storage.published_files import DINOV2


class DinoV2Encoder(nn.Module):
    """Tokens before the final norm of the network, unscaled: the published models were trained on these values.

    Images are resized with their alpha to the network's own size (518, Lanczos), then put on black. Voxel maps are
    the 37 x 37 patch tokens; video tokens are the same 1369, then the class token; register tokens are dropped.
    """

    network: Any

    def __init__(self, weights: str | None) -> None:
        """Load the network. weights: folder or hub name, None for the published ones; only local files are read.

        Raises UserError when they are not here.
        """
        super().__init__()
        self.network = _load(weights or str(DINOV2.find() or DINOV2.repository))
        self._side: int = self.network.config.image_size // self.network.config.patch_size
        _, _, mean, std = PREPROCESSING["dinov2"]
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    @property
    def voxel_dim(self) -> int:
        return int(self.network.config.hidden_size)

    @property
    def token_dim(self) -> int:
        return int(self.network.config.hidden_size)

    @property
    def num_tokens(self) -> int:
        return self._side**2 + 1

    @property
    def num_compared(self) -> int:
        return 1

    @torch.inference_mode()
    def voxel_maps(self, images: Tensor) -> Tensor:
        """Return feature maps [B, 1024, 37, 37] of images [B, H, W, 4] uint8."""
        patches, _ = self._encode(images)
        return patches.transpose(1, 2).unflatten(2, (self._side, self._side))

    def maps(self, images: Tensor) -> Maps:
        """Return the voxel maps, which are also those to compare, of images [B, H, W, 4] uint8."""
        patches = self.voxel_maps(images)
        return Maps(patches, (patches,))

    @torch.inference_mode()
    def tokens(self, images: Tensor) -> Tensor:
        """Return tokens [B, 1370, 1024] of images [B, H, W, 4] uint8: patches row by row, the class token last."""
        return torch.cat(self._encode(images), dim=1)

    @torch.inference_mode()
    def object_tokens(self, images: Tensor) -> Tensor:
        """Return all tokens [B, 1374, 1024] of images [B, H, W, 4] uint8: class, registers, patches row by row.

        Images are put on black as TRELLIS does before it encodes them: colours are then rounded down to whole 8-bit values.
        """
        return self._hidden(self._normalized((self._on_black(images) * 255.0).floor() / 255.0))

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the patch tokens [B, patches, C] and the class token [B, 1, C] of images [B, H, W, 4] uint8."""
        return self.patches_and_class(self._normalized(self._on_black(images)))

    def _on_black(self, images: Tensor) -> Tensor:
        """Return images [B, H, W, 4] uint8 at the network's own size, on black: [B, 3, S, S] in [0, 1], on the CPU.

        On another device, divisions differ in the last bit, which rounding down to 8 bits would turn into a whole step.
        """
        size = self.network.config.image_size
        sources = [Image.fromarray(image) for image in images.cpu().numpy()]
        resized = [np.asarray(source.resize((size, size), Image.Resampling.LANCZOS)) for source in sources]
        rgba = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2) / 255.0
        return rgba[:, :3] * rgba[:, 3:]

    def _normalized(self, colors: Tensor) -> Tensor:
        """Return colours [B, 3, S, S] in [0, 1] as the network takes them, on its device."""
        return (colors.to(self.get_buffer("mean").device) - self.get_buffer("mean")) / self.get_buffer("std")

    @torch.inference_mode()
    def patches_and_class(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the patch tokens [B, patches, C] and the class token [B, 1, C], before the final norm.

        pixels: [B, 3, S, S], normalised, at the network's own size.
        """
        hidden = self._hidden(pixels)
        return hidden[:, 1 + self.network.config.num_register_tokens :], hidden[:, :1]

    def _hidden(self, pixels: Tensor) -> Tensor:
        """Return the network's tokens [B, K, C] before the final norm."""
        hidden: Tensor = self.network(pixels, output_hidden_states=True).hidden_states[-1]
        return hidden


def _load(weights: str) -> Any:
    from transformers import Dinov2WithRegistersModel

    folder = Path(weights)
    try:
        if folder.is_dir():
            return load_model(Dinov2WithRegistersModel, folder, "DINOv2 with registers", use_safetensors=True)
        network = Dinov2WithRegistersModel.from_pretrained(weights, local_files_only=True, use_safetensors=True)
    except (UserError, OSError, ValueError) as error:
        what = (
            str(error)
            if isinstance(error, UserError)
            else f"{weights!r} is neither a folder nor in the hub's local cache."
        )
        raise UserError(
            f"featurize.weights: {what} On a machine with a network run `gvf weights pull dinov2`; or copy config.json and "
            f"model.safetensors of {DINOV2.repository} into a folder and name it in featurize.weights; or choose "
            "featurize.encoder=efficientnet_lite0."
        ) from None
    return network.eval().requires_grad_(False)
