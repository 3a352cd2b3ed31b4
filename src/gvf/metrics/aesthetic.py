"""Aesthetic score of images: the published predictor on CLIP ViT-L/14 embeddings (supplement B, footnote 1).

Source: github.com/christophschuhmann/improved-aesthetic-predictor, the head `sac+logos+ava1-l14-linearMSE`: a stack of
linear layers on the unit image embedding, trained on ratings from 1 to 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gvf.errors import UserError
from gvf.storage.model_folders import load_model, load_processor, require_model_folder
from gvf.storage.published_files import AESTHETIC_HEAD, CLIP_L14
from gvf.storage.recognition import require_container


@dataclass(frozen=True)
class AestheticWeights:
    """head: file of the linear layers. clip: folder of the CLIP model in the layout of transformers."""

    head: Path
    clip: Path


def find_weights() -> AestheticWeights:
    """Find the scorer's files on this machine, without downloading.

    Raises FileNotFoundError with the name of the first missing file, and UserError for a damaged one, so that damaged
    weights do not reject clips.
    """
    head, clip = AESTHETIC_HEAD.find(), CLIP_L14.find()
    if head is None:
        raise FileNotFoundError(AESTHETIC_HEAD.name)
    if clip is None:
        raise FileNotFoundError(CLIP_L14.repository)
    require_container(head)
    require_model_folder(clip, ("config.json", "preprocessor_config.json"))
    return AestheticWeights(head, clip)


@dataclass(frozen=True)
class AestheticScorer:
    """CLIP's vision tower, its preprocessing, and the (weight, bias) of each linear layer of the head."""

    vision: Any
    processor: Any
    layers: tuple[tuple[Any, Any], ...]

    def score(self, images: np.ndarray) -> np.ndarray:
        """Return the scores [N] of RGB images [N, H, W, 3] uint8; higher is more pleasing, about 1 to 10."""
        import torch

        with torch.inference_mode():
            pixels = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
            value = torch.nn.functional.normalize(self.vision(pixel_values=pixels).image_embeds, dim=-1)
            for weight, bias in self.layers:
                value = torch.nn.functional.linear(value, weight, bias)
        return value[:, 0].double().numpy()


@cache
def load_scorer(weights: AestheticWeights) -> AestheticScorer:
    """Load the scorer, once per process. Raises UserError when a file is not what it should be."""
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    from gvf.storage.tensor_files import listed, read_state

    state = read_state(weights.head)
    try:
        numbers = sorted({int(name.split(".")[1]) for name in state})
        layers = tuple((state[f"layers.{i}.weight"].float(), state[f"layers.{i}.bias"].float()) for i in numbers)
    except (KeyError, IndexError, ValueError):
        raise UserError(f"{weights.head}: not the aesthetic predictor's head; it has {listed(state)}.") from None
    vision = load_model(CLIPVisionModelWithProjection, weights.clip, "a CLIP model")
    processor = load_processor(CLIPImageProcessor, weights.clip, "a CLIP model")
    if layers[0][0].shape[1] != vision.config.projection_dim:
        width, expected = layers[0][0].shape[1], vision.config.projection_dim
        raise UserError(f"{weights.head}: takes embeddings of width {width}, {weights.clip} gives {expected}.")
    return AestheticScorer(vision, processor, layers)
