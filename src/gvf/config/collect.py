"""Section `collect`: where animated assets come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, clash


@dataclass(frozen=True, config=STRICT)
class ProceduralSourceConfig:
    """Generated objects."""

    families: Annotated[tuple[str, ...], Field(min_length=1)]
    """Kinds of objects to generate."""
    clips_per_family: PositiveInt
    """Objects of each kind, with one animation each."""


@dataclass(frozen=True, config=STRICT)
class GlbSourceConfig:
    """Asset files in a folder; every animation of every file is one clip."""

    directory: Annotated[str, Field(min_length=1)]
    """Folder searched for .glb and .gltf files, including its subfolders and linked folders."""


@dataclass(frozen=True, config=STRICT)
class CollectConfig:
    """Where animated assets come from: `source` names the mapping that holds its settings; the other is left out."""

    source: Literal["procedural", "glb"]
    """Kind of source: generated objects or asset files."""
    watch: str
    """Path whose changes make `dvc repro` collect again: the code that generates the assets, or the source's folder.
    Composition makes it absolute unless Git tracks the folder, so that DVC finds it from a temporary copy of the
    checkout."""
    procedural: ProceduralSourceConfig | None = None
    """Settings of source `procedural`."""
    glb: GlbSourceConfig | None = None
    """Settings of source `glb`."""

    @model_validator(mode="after")
    def _has_the_settings_of_its_source_only(self) -> CollectConfig:
        for name, settings in (("procedural", self.procedural), ("glb", self.glb)):
            if name == self.source and settings is None:
                raise clash(name, f"is missing, but collect.source is {self.source}.")
            if name != self.source and settings is not None:
                raise clash(name, f"has no effect when collect.source is {self.source}. Remove it.")
        return self
