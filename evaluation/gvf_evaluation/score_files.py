"""Files in which the stage `evaluate` leaves its scores, and which `report` reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ScoreFiles:
    """Paths of the files in a folder of scores."""

    folder: Path

    @property
    def clips(self) -> Path:
        """Return the table of every clip and method."""
        return self.folder / "clips.csv"

    @property
    def summary(self) -> Path:
        """Return the table of means over groups of clips."""
        return self.folder / "summary.csv"

    @property
    def frames(self) -> Path:
        """Return the table of every clip and method, frame by frame."""
        return self.folder / "frames.csv"

    @property
    def shapes(self) -> Path:
        """Return the table of every clip and method of shapes; absent where no objects were generated."""
        return self.folder / "shapes.csv"

    @property
    def shape_summary(self) -> Path:
        """Return the table of means of shapes over groups of clips; absent where no objects were generated."""
        return self.folder / "shape_summary.csv"

    @property
    def measurement(self) -> Path:
        """Return the record of what was measured, on what and with which code."""
        return self.folder / "measurement.json"
