"""The glTF files below a folder: each real file once, in a stable order, with the reason for each one skipped."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gvf.data.gltf.document import GLTF_SUFFIXES

# Metadata that macOS writes into archives and onto foreign drives beside the files themselves; never an asset.
_FORK_PREFIX, _FORK_FOLDER = "._", "__MACOSX"


@dataclass(frozen=True)
class AssetFiles:
    """paths: sorted. passed_over: one line for each skipped folder or file that might have held an asset.

    num_forks: number of files skipped because macOS wrote them to hold another file's attributes.
    """

    paths: tuple[Path, ...]
    passed_over: tuple[str, ...]
    num_forks: int


def find_assets(directory: Path) -> AssetFiles:
    """Find every .glb and .gltf file in a folder and its subfolders, linked ones included.

    A folder or file reached by several links counts once, under its real path where that is below `directory`. Links to
    a folder that contains `directory` itself are not followed.
    """
    root = os.path.realpath(directory)
    folders, linked_folders = deque([directory]), deque[Path]()
    files: list[Path] = []
    linked_files: list[Path] = []
    passed_over: list[str] = []
    num_forks = 0
    seen: set[str] = set()
    while folders or linked_folders:
        folder = (folders or linked_folders).popleft()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        if real != root and _holds(real, root):
            passed_over.append(f"{folder}: leads to a folder that holds {directory} itself")
            continue
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            passed_over.append(f"{folder}: cannot be read ({error.strerror})")
            continue
        for entry in entries:
            path = folder / entry.name
            if _is_folder(entry):
                if entry.name == _FORK_FOLDER:
                    num_forks += sum(name.lower().endswith(GLTF_SUFFIXES) for name in _names_below(path))
                else:
                    (linked_folders if entry.is_symlink() else folders).append(path)
            elif path.suffix.lower() in GLTF_SUFFIXES:
                if entry.name.startswith(_FORK_PREFIX):
                    num_forks += 1
                elif (fault := _fault(path)) is not None:
                    passed_over.append(f"{path}: {fault}")
                else:
                    (linked_files if entry.is_symlink() else files).append(path)
    once: dict[str, Path] = {}
    for path in (*files, *linked_files):
        once.setdefault(os.path.realpath(path), path)
    return AssetFiles(tuple(sorted(once.values())), tuple(passed_over), num_forks)


def _holds(folder: str, other: str) -> bool:
    return os.path.commonpath([folder, other]) == folder


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _fault(path: Path) -> str | None:
    """Return why a path is not that of a readable file, or None when it is."""
    try:
        ordinary = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return "is a broken link"
    except OSError as error:  # a link that leads to itself, a folder that may not be entered, too long a path
        return f"cannot be read ({error.strerror})"
    return None if ordinary else "is not a regular file"


def _names_below(folder: Path) -> Iterator[str]:
    return (name for _, _, names in os.walk(folder) for name in names)
