"""What every data source yields: asset files to collect, with what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

ASSETS = "assets"
"""Subfolder of the collected assets."""


@dataclass(frozen=True)
class AssetFacts:
    """What a source knows of an asset besides its file; None where it is not known.

    kind: what it is, such as `animal`. skeleton: name that is the same for assets with the same joints. licence: its
    identifier. author, pack, origin: who made it, in which collection and where it comes from. The text is clean.
    """

    kind: str | None = None
    skeleton: str | None = None
    licence: str | None = None
    author: str | None = None
    pack: str | None = None
    origin: str | None = None


@dataclass(frozen=True)
class SourceFile:
    """An asset file to collect. path: its path. root: the searched folder, which the files it refers to must not leave.

    destination: path of the copy, relative to folder. source: name of the source. family: see `gvf.data.manifest`. A new
    source is a function that returns a list of these, and a line in `gvf.stages.collect`.
    """

    path: Path
    root: Path
    folder: Path
    destination: Path
    source: str
    family: str
    facts: AssetFacts = field(default_factory=AssetFacts)
