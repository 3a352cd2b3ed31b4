"""The aesthetic predictor on a CLIP of random weights: what is measured is our plumbing, not taste."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from gvf.errors import UserError
from gvf.metrics.aesthetic import find_weights, load_scorer
from gvf.storage.published_files import AESTHETIC_HEAD, CLIP_L14

CLIP_NAME = CLIP_L14.repository.split("/")[1]


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny CLIP and a head of two layers, and no other place to look."""
    monkeypatch.setenv("GVF_WEIGHTS", str(tmp_path / "named"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8,
        projection_dim=6,
    )  # fmt: skip
    folder = tmp_path / "named" / CLIP_NAME
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    _save_head(tmp_path / "named", 6)
    return tmp_path / "named"


def _save_head(folder: Path, width: int) -> None:
    state = {"layers.0.weight": torch.randn(4, width), "layers.0.bias": torch.randn(4)}
    state |= {"layers.2.weight": torch.randn(1, 4), "layers.2.bias": torch.randn(1)}
    torch.save(state, folder / AESTHETIC_HEAD.name)


def test_score_is_the_head_on_the_unit_embedding(weights: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    scores = load_scorer(find_weights()).score(images)
    # By hand: CLIP's published mean and standard deviation, then two matrix products.
    mean, deviation = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    pixels = torch.tensor((images / 255.0 - mean) / deviation, dtype=torch.float32).permute(0, 3, 1, 2)
    model = CLIPVisionModelWithProjection.from_pretrained(weights / CLIP_NAME).eval()
    with torch.no_grad():
        embedding = model(pixel_values=pixels).image_embeds
    state = torch.load(weights / AESTHETIC_HEAD.name, weights_only=True)
    hidden = embedding / embedding.norm(dim=1, keepdim=True) @ state["layers.0.weight"].T + state["layers.0.bias"]
    expected = hidden @ state["layers.2.weight"].T + state["layers.2.bias"]
    np.testing.assert_allclose(scores, expected[:, 0].numpy(), atol=1e-4)


def test_the_first_missing_file_is_named(weights: Path) -> None:
    (weights / CLIP_NAME / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=f"^openai/{CLIP_NAME}$"):
        find_weights()
    (weights / AESTHETIC_HEAD.name).unlink()
    with pytest.raises(FileNotFoundError, match=r"^sac\+logos\+ava1-l14-linearMSE\.pth$"):
        find_weights()


def test_wrong_files_are_named(weights: Path) -> None:
    _save_head(weights, 7)
    with pytest.raises(UserError, match="embeddings of width 7"):
        load_scorer(find_weights())
    torch.save({"other": torch.ones(1)}, weights / AESTHETIC_HEAD.name)
    with pytest.raises(UserError, match=r"linearMSE\.pth: not the aesthetic predictor's head; it has other"):
        load_scorer(find_weights())


def test_damaged_files_are_named_before_a_clip_is_scored(weights: Path) -> None:
    path = weights / CLIP_NAME / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(UserError, match=r"model\.safetensors: cut short"):
        find_weights()
    path.write_bytes(whole)
    (weights / AESTHETIC_HEAD.name).write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"linearMSE\.pth: a text"):
        find_weights()
