"""Section `collect`: where animated assets come from."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.checks import at_least, one_of
from gvf.errors import ConfigError


@dataclass(frozen=True)
class ProceduralSourceConfig:
    """families: kinds of generated objects. clips_per_family: objects of each kind, one animation each."""

    families: tuple[str, ...]
    clips_per_family: int

    def __post_init__(self) -> None:
        if not self.families:
            raise ConfigError("collect.procedural.families", "is empty, must name at least one family.")
        at_least("collect.procedural.clips_per_family", self.clips_per_family, 1)


@dataclass(frozen=True)
class GlbSourceConfig:
    """directory: folder searched for .glb and .gltf files, including its subfolders and linked folders.

    Every animation of every file is one clip.
    """

    directory: str

    def __post_init__(self) -> None:
        if not self.directory:
            raise ConfigError("collect.glb.directory", "is empty, must be a folder.")


@dataclass(frozen=True)
class CollectConfig:
    """source: `procedural` or `glb`, and the mapping of that name with its settings; the other one must be absent.

    watch: path whose changes make `dvc repro` collect again: the code that generates the assets, or the source's folder.
    Composition makes it absolute unless Git tracks the folder, so that DVC finds it from a temporary copy of the checkout.
    """

    source: str
    watch: str
    procedural: ProceduralSourceConfig | None = None
    glb: GlbSourceConfig | None = None

    def __post_init__(self) -> None:
        one_of("collect.source", self.source, ("glb", "procedural"))
        for name, settings in (("procedural", self.procedural), ("glb", self.glb)):
            if name == self.source and settings is None:
                raise ConfigError(f"collect.{name}", f"is missing, but collect.source is {self.source}.")
            if name != self.source and settings is not None:
                raise ConfigError(f"collect.{name}", f"has no effect with collect.source {self.source}. Remove it.")
