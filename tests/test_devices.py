"""Which device `run.device` stands for, and the refusal of one that is absent."""

from __future__ import annotations

import pytest
import torch

from gvf.devices import resolve_device
from gvf.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "present", "found"), [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu")]
)
def test_auto_takes_cuda_where_there_is_any(
    name: str, present: bool, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: present)
    assert resolve_device(name).type == found


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"run\.device.*no CUDA device.*cpu or auto"):
        resolve_device("cuda")
