"""CLIP image-image similarity: cosine of the ViT-B/32 embeddings of prediction and ground truth."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gvf.metrics.absence import Absence
from gvf.metrics.metric import ImageMetric, RequiredWeights
from gvf.storage.model_folders import load_model, load_processor
from gvf.storage.published_files import CLIP_B32

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_BATCH = 64

MISSING = Absence(
    "clip",
    f"{CLIP_B32.repository} is not on this machine",
    "Run `gvf weights pull clip`, or put its folder into the one that GVF_WEIGHTS names.",
)


def find_weights() -> Path | None:
    """Return the model's folder on this machine, or None."""
    return CLIP_B32.find()


def absence() -> Absence | None:
    """Return why CLIP similarity cannot be measured on this machine, or None when the model is present."""
    return None if find_weights() else MISSING


def require_weights() -> None:
    """Check that the model loads. Raises UserError when its files are present but damaged, or are another model."""
    import torch

    if (folder := find_weights()) is not None:
        _model(folder, torch.device("cpu"))


def clip_similarity(prediction: Tensor, ground_truth: Tensor) -> Tensor | Absence:
    """Return the cosine of the embeddings of each pair, [P], or why there is none; higher is better.

    prediction, ground_truth: [P, H, W, 3] in [0, 1]; rounded to 8 bits and put through the model's own preprocessing.
    """
    import torch

    folder = find_weights()
    if folder is None:
        return MISSING
    model, processor = _model(folder, prediction.device)
    with torch.no_grad():
        one, other = (
            torch.nn.functional.normalize(_embed(model, processor, images), dim=-1)
            for images in (prediction, ground_truth)
        )
        return (one * other).sum(-1)


def _embed(model: Any, processor: Any, images: Tensor) -> Tensor:
    import torch

    rounded = (images.clamp(0, 1) * 255).round().to(torch.uint8).movedim(-1, 1).cpu()
    batches = []
    for part in rounded.split(_BATCH):
        pixels = processor(images=list(part), return_tensors="pt")["pixel_values"].to(images.device)
        batches.append(model(pixel_values=pixels).image_embeds.float())
    return torch.cat(batches)


@cache
def _model(folder: Path, device: torch.device) -> tuple[Any, Any]:
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    processor = load_processor(CLIPImageProcessor, folder, "a CLIP model")
    return load_model(CLIPVisionModelWithProjection, folder, "a CLIP model").to(device), processor


METRICS = (
    ImageMetric(
        name="clip",
        title="CLIP",
        definition="Cosine similarity of the CLIP ViT-B/32 embeddings of both images.",
        higher_is_better=True,
        format="{:.3f}",
        weights=RequiredWeights(find_weights, absence, require_weights),
        compute=lambda pairs: clip_similarity(*pairs.unit),
    ),
)
