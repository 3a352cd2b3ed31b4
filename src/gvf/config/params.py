"""All of `params.yaml`: one section a stage, and those that stages share."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.run import RunConfig


@dataclass(frozen=True)
class Params:
    """Sections have the name of their stage, with underscores; models have their own."""

    run: RunConfig
