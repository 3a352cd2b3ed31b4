"""What every data source yields: asset files to collect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ASSETS = "assets"
"""Subfolder of the collected assets."""


@dataclass(frozen=True)
class SourceFile:
    """An asset file to collect. path: its path. root: the searched folder, which the files it refers to must not leave.

    destination: path of the copy, relative to folder. family: see `gvf.data.manifest`. A new source is a function that
    returns a list of these, and a line in `gvf.stages.collect`.
    """

    path: Path
    root: Path
    folder: Path
    destination: Path
    family: str
