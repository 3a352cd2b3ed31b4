"""A sequence as a folder of numbered files, one per frame, for formats that hold a single frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from gvf.gaussians.gaussians import Gaussians
from gvf.progress import Step
from gvf.storage.files import fresh_directory


def frame_name(number: int, suffix: str) -> str:
    """Return the name of a frame's file. Editors take files that differ only in the number before the suffix as a sequence."""
    return f"frame_{number:04d}{suffix}"


def save_numbered(
    folder: Path,
    gaussians: Gaussians,
    numbers: Sequence[int],
    suffix: str,
    save: Callable[[Path, Gaussians], None],
    step: Step,
) -> None:
    """Write every moment of Gaussians [T, N, ...] with `save`; the folder appears when all of them are there.

    numbers: [T], the frames' numbers in their names. The folder holds nothing else, so that an editor that is given
    the whole folder sees one sequence.
    """
    with fresh_directory(folder) as partial:
        for index, number in enumerate(numbers):
            save(partial / frame_name(number, suffix), gaussians[index])
            step.advance()


def holds_only_frames(folder: Path, suffix: str) -> bool:
    """Return whether a folder is empty, or holds nothing but files that `save_numbered` may have written."""
    wanted = re.compile(rf"frame_\d{{4,}}{re.escape(suffix)}")
    return all(path.is_file() and wanted.fullmatch(path.name) for path in folder.iterdir())
