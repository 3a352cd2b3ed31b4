"""`precision: auto` is what a measurement says."""

from __future__ import annotations

import pytest
import torch

from gvf.training import precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(("seconds", "faster"), [(0.25, True), (0.9, False), (2.6, False)])
def test_auto_takes_the_faster_of_both(seconds: float, faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.dtype] = []

    def product_seconds(dtype: torch.dtype, device: torch.device) -> float:
        asked.append(dtype)
        noise = 5.0 if len(asked) < 4 else 1.0  # another program runs at first
        return noise * (seconds if dtype == torch.bfloat16 else 1.0)

    monkeypatch.setattr(precision, "product_seconds", product_seconds)
    precision.bfloat16_is_faster.cache_clear()
    try:
        for _ in range(2):
            with precision.autocast("auto", CPU):
                assert torch.is_autocast_enabled("cpu") is faster
        assert len(asked) == 2 * precision._TRIES  # once per process
    finally:
        precision.bfloat16_is_faster.cache_clear()


def test_the_measured_product_is_timed() -> None:
    assert precision.product_seconds(torch.float32, CPU) > 0.0


@pytest.mark.parametrize(("name", "enabled"), [("float32", False), ("bfloat16", True)])
def test_a_named_precision_is_taken_without_measuring(
    name: str, enabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "product_seconds", None)
    with precision.autocast(name, CPU):
        assert torch.is_autocast_enabled("cpu") is enabled
