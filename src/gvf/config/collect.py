"""Section `collect`: where animated assets come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from gvf.config.fields import STRICT, clash

SourceName = Literal["procedural", "glb"]


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
    """Folder searched for .glb and .gltf files, including its subfolders and linked folders. A table `manifest.csv` in
    any of these folders gives licence, author, kind and skeleton of the files below it."""


@dataclass(frozen=True, config=STRICT)
class CollectConfig:
    """Where animated assets come from: each of `sources` names a mapping that holds its settings; others are left out."""

    sources: Annotated[tuple[SourceName, ...], Field(min_length=1)]
    """Kinds of sources: generated objects, asset files, or both."""
    watch: str
    """Path whose changes make `dvc repro` collect again: the folder of asset files, or else the code that generates
    assets. Composition makes it absolute unless Git tracks the folder, so that DVC finds it from a temporary copy of the
    checkout."""
    procedural: ProceduralSourceConfig | None = None
    """Settings of source `procedural`."""
    glb: GlbSourceConfig | None = None
    """Settings of source `glb`."""

    @model_validator(mode="after")
    def _has_the_settings_of_its_sources_only(self) -> CollectConfig:
        named = ", ".join(self.sources)
        if len(set(self.sources)) < len(self.sources):
            raise clash("sources", f"is {named}. Name each source once.")
        for name, settings in (("procedural", self.procedural), ("glb", self.glb)):
            if name in self.sources and settings is None:
                raise clash(name, f"is missing, but collect.sources is {named}.")
            if name not in self.sources and settings is not None:
                raise clash(name, f"has no effect when collect.sources is {named}. Remove it.")
        return self
