"""The number of threads that a stage computes with."""

from __future__ import annotations

import pytest
import torch

from gvf.execution.threads import limited_threads

CPU = "cpu"
pytestmark = pytest.mark.usefixtures("three_threads")


def test_threads_are_limited_in_the_block_even_if_it_fails() -> None:
    with pytest.raises(ValueError, match="broken"), limited_threads(2, CPU):
        assert torch.get_num_threads() == 2
        raise ValueError("broken")
    assert torch.get_num_threads() == 3


def test_the_environment_decides_first_and_null_leaves_torch_s_default(monkeypatch: pytest.MonkeyPatch) -> None:
    with limited_threads(None, CPU):
        assert torch.get_num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with limited_threads(1, CPU):
        assert torch.get_num_threads() == 3


def test_on_a_gpu_threads_only_feed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with limited_threads(1, "cuda"):
        assert torch.get_num_threads() == 3
