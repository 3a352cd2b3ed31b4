"""Ranges of the training settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gvf.errors import ConfigError
from tests.training.toy_training import CONFIG


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("warmup_steps", -1),
        ("betas", (0.9, 1.0)),
        ("clip_norm", 0.0),
        ("ema_decay", 1.0),
        ("schedule", "linear"),
        ("precision", "float16"),
        ("zero_stage", 4),
        ("checkpoint_seconds", 0.0),
        ("accumulation", 3),  # does not divide the batch of 8
    ],
)
def test_a_bad_value_is_refused_by_name(field: str, value: Any) -> None:
    name = "batch_size" if field == "accumulation" else field
    with pytest.raises(ConfigError, match=rf"training\.{name}"):
        replace(CONFIG, **{field: value})
