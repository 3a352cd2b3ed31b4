"""CLIP image-image similarity: cosine of ViT-B/32 embeddings of prediction and truth."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gvf.metrics.absence import Absence
from gvf.storage.model_folders import load_model, load_processor
from gvf.storage.published_files import CLIP_B32

_BATCH = 64

MISSING = Absence(
    "clip",
    f"{CLIP_B32.repository} is not on this machine",
    "Run `gvf weights pull clip`, or put its folder into the one that GVF_WEIGHTS names.",
)


def find_weights() -> Path | None:
    """The model's folder on this machine."""
    return CLIP_B32.find()


def absence() -> Absence | None:
    """Why CLIP similarity cannot be measured here, or None when the model is there."""
    return None if find_weights() else MISSING


def require_weights() -> None:
    """Check that the model loads. Raises UserError when its files are present but damaged, or are another model."""
    if (folder := find_weights()) is not None:
        _model(folder, torch.device("cpu"))


def clip_similarity(prediction: Tensor, truth: Tensor) -> Tensor | Absence:
    """Cosine of the embeddings of each pair, higher is nearer. prediction, truth: [P, H, W, 3] in [0, 1].

    Pictures are rounded to 8 bits and go through the model's own preprocessing. Returns [P], or why there is none.
    """
    folder = find_weights()
    if folder is None:
        return MISSING
    model, processor = _model(folder, prediction.device)
    with torch.no_grad():
        one, other = (
            torch.nn.functional.normalize(_embed(model, processor, images), dim=-1) for images in (prediction, truth)
        )
        return (one * other).sum(-1)


def _embed(model: Any, processor: Any, images: Tensor) -> Tensor:
    pictures = (images.clamp(0, 1) * 255).round().to(torch.uint8).movedim(-1, 1).cpu()
    batches = []
    for part in pictures.split(_BATCH):
        pixels = processor(images=list(part), return_tensors="pt")["pixel_values"].to(images.device)
        batches.append(model(pixel_values=pixels).image_embeds.float())
    return torch.cat(batches)


@cache
def _model(folder: Path, device: torch.device) -> tuple[Any, Any]:
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    processor = load_processor(CLIPImageProcessor, folder, "a CLIP model")
    return load_model(CLIPVisionModelWithProjection, folder, "a CLIP model").to(device), processor
