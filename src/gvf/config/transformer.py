"""The check that the sections of all transformers share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gvf.config.fields import clash

Width = Annotated[int, Field(ge=6)]
"""Channels of a transformer; its sine embeddings need at least 6."""


def demand_whole_heads(width: int, num_heads: int) -> None:
    """Raise unless the heads divide the width evenly."""
    if width % num_heads:
        raise clash("num_heads", f"is {num_heads}, but must divide width, which is {width}.")
