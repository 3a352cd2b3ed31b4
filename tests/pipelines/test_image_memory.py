"""The memory of the networks from an image is that of their widest step, and is demanded before they start."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gvf.errors import UserError
from gvf.models.activation_memory import peak_activation_bytes
from gvf.pipelines import image_memory
from gvf.pipelines.image_memory import demand_image_memory, denoise_grid, estimate_image_memory
from gvf.pipelines.image_to_canonical import ImageToCanonical
from tests.weights.small_weights import small_network


@pytest.fixture(scope="module")
def networks() -> ImageToCanonical:
    parts: dict[str, Any] = {
        "ss_flow": small_network("ss-flow", latent_channels=4, resolution=16),
        "ss_decoder": small_network("ss-decoder", latent_channels=4),
        "slat_flow": small_network("slat-flow", latent_channels=8),
        "gaussian_decoder": small_network("slat-gs-decoder", latent_channels=8, resolution=32, window=4),
    }
    return ImageToCanonical(**parts)


def test_the_estimate_covers_a_real_call_of_the_structure_flow(networks: ImageToCanonical) -> None:
    real = peak_activation_bytes(networks.ss_flow, lambda flow: denoise_grid(flow, 2), training=False)
    estimate = estimate_image_memory(networks)
    assert estimate >= real > 2**20
    assert all(parameter.device.type == "cpu" for parameter in networks.ss_flow.parameters())
    assert 1.6 < estimate_image_memory(networks, 2) / estimate < 2.2


def test_too_little_memory_is_said(networks: ImageToCanonical, monkeypatch: pytest.MonkeyPatch) -> None:
    estimate = estimate_image_memory(networks)
    monkeypatch.setattr(image_memory, "free_bytes", lambda device: int(1.3 * estimate))
    demand_image_memory(networks)
    monkeypatch.setattr(image_memory, "free_bytes", lambda device: estimate)
    with pytest.raises(UserError, match=r"the networks from an image need about .* GiB are free"):
        demand_image_memory(networks)
    assert torch.get_default_device().type == "cpu"
