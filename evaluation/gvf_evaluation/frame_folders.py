"""Consistent4D's layout, `<object>/eval_<view>/<int>.png`: a method's frames and the ground truth, checked before scoring."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gvf.errors import UserError
from gvf.storage.files import sha256
from gvf_evaluation.frames import frame_size
from gvf_evaluation.protocols import Protocol

_SHOWN = 10  # problems that are listed; the others are counted
_VIEW, _FRAME = re.compile(r"eval_(0|[1-9]\d*)"), re.compile(r"(\d+)\.png", re.IGNORECASE)

Frames = tuple[tuple[Path, ...], ...]  # by view, by frame


@dataclass(frozen=True)
class ObjectFrames:
    """Frames of one object, by view and in the order of their numbers. size: of every frame, pixels per side."""

    name: str
    predictions: Frames
    ground_truth: Frames
    size: int


def pair_folders(predictions: Path, ground_truth: Path, protocol: Protocol) -> list[ObjectFrames]:
    """Return every object of the ground truth with its prediction, sorted by name.

    Raises UserError that lists what is missing, extra, not square or of another size, in either folder.
    """
    problems: list[str] = []
    wanted = _read_folder(ground_truth, protocol, problems)
    found = _read_folder(predictions, protocol, problems)
    for side, names in (("missing", wanted.keys() - found.keys()), ("extra", found.keys() - wanted.keys())):
        problems += [f"{predictions / name}: {side} object" for name in sorted(names)]
    pairs = []
    for name in sorted(wanted.keys() & found.keys()):
        true, predicted = wanted[name], found[name]
        if true is None or predicted is None:
            continue  # its problem is listed
        if (numbers := _numbers(predicted.paths)) != (true_numbers := _numbers(true.paths)):
            problems.append(
                f"{predictions / name}: frames {_span(numbers)}, the ground truth has {_span(true_numbers)}"
            )
        elif predicted.size != true.size:
            problems.append(
                f"{predictions / name}: frames of {predicted.size} pixels per side, the ground truth has {true.size}"
            )
        else:
            pairs.append(ObjectFrames(name, predicted.paths, true.paths, true.size))
    _refuse(problems, protocol)
    return pairs


def check_ground_truth(folder: Path, protocol: Protocol) -> tuple[list[str], str]:
    """Return the names of the objects in a folder of ground-truth frames, and its digest as results hold it.

    Raises UserError as `pair_folders` does.
    """
    problems: list[str] = []
    found = _read_folder(folder, protocol, problems)
    _refuse(problems, protocol)
    return sorted(found), joint_digest([frames_digest(item.paths) for _, item in sorted(found.items()) if item])


def frames_digest(frames: Frames) -> str:
    """Return the SHA-256 over the bytes of all frames of an object and their places (view, position)."""
    return joint_digest([f"{v} {t} {sha256(path)}" for v, view in enumerate(frames) for t, path in enumerate(view)])


def joint_digest(lines: Sequence[str]) -> str:
    """Return the SHA-256 of lines of text."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class _Found:
    paths: Frames
    size: int


def _read_folder(folder: Path, protocol: Protocol, problems: list[str]) -> dict[str, _Found | None]:
    """Return the objects by name, None for one that has a problem, which is added to `problems`."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Protocol {protocol.name} is measured on {protocol.data}.")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise UserError(f"{folder}: contains no object folder. Expected <object>/eval_<view>/<int>.png.")
    return {name: _read_object(folder / name, protocol, problems) for name in names}


def _read_object(folder: Path, protocol: Protocol, problems: list[str]) -> _Found | None:
    before = len(problems)
    views = {int(match[1]) for path in folder.iterdir() if (match := _VIEW.fullmatch(path.name)) and path.is_dir()}
    expected = set(range(protocol.num_views))
    problems += [f"{folder}/eval_{view}: missing view" for view in sorted(expected - views)]
    problems += [f"{folder}/eval_{view}: extra view" for view in sorted(views - expected)]
    paths = tuple(_read_view(folder / f"eval_{view}", protocol, problems) for view in sorted(expected & views))
    if len({tuple(numbers) for numbers in _numbers_by_view(paths)}) > 1 and len(problems) == before:
        problems.append(f"{folder}: its views have frames of different numbers")
    if len(problems) > before:
        return None
    sizes: dict[tuple[int, int], list[Path]] = {}
    for path in (path for view in paths for path in view):
        sizes.setdefault(frame_size(path), []).append(path)
    ((width, height), usual), *others = sorted(sizes.items(), key=lambda item: -len(item[1]))
    if width != height:
        problems.append(f"{usual[0]}: {width} x {height} pixels, frames must be square")
    for (other_width, other_height), odd in others:
        problems.append(f"{odd[0]}: {other_width} x {other_height} pixels, most of the object's are {width} x {height}")
    return None if len(problems) > before else _Found(paths, width)


def _read_view(folder: Path, protocol: Protocol, problems: list[str]) -> tuple[Path, ...]:
    """Return the frames in numeric order: 2.png comes before 10.png."""
    by_number: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        match = _FRAME.fullmatch(path.name)
        if match is None:
            problems.append(f"{path}: not named <int>.png")
        elif (number := int(match[1])) in by_number:
            problems.append(f"{path}: has the same number as {by_number[number].name}")
        else:
            by_number[number] = path
    numbers = sorted(by_number)
    if len(numbers) != protocol.num_frames:
        problems.append(f"{folder}: {_gaps(numbers, protocol.num_frames)}")
    return tuple(by_number[number] for number in numbers)


def _gaps(numbers: list[int], expected: int) -> str:
    """Return what is wrong with a list of frame numbers that does not have the expected length."""
    absent = sorted(set(range(numbers[0], numbers[0] + expected)) - set(numbers)) if numbers else []
    named = f", {', '.join(f'{number}.png' for number in absent[:_SHOWN])} missing" if len(numbers) < expected else ""
    return f"{len(numbers)} frames, expected {expected}{named if numbers else ''}"


def _numbers_by_view(paths: Frames) -> list[list[int]]:
    return [[int(path.stem) for path in view] for view in paths]


def _numbers(paths: Frames) -> list[int]:
    """Return the frame numbers of the first view; the other views have the same."""
    return _numbers_by_view(paths)[0]


def _span(numbers: list[int]) -> str:
    return f"{numbers[0]}.png to {numbers[-1]}.png"


def _refuse(problems: list[str], protocol: Protocol) -> None:
    if problems:
        lines = problems[:_SHOWN] + ([f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else [])
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        head = (
            f"Protocol {protocol.name} expects <object>/eval_<0..{protocol.num_views - 1}>/<int>.png, {protocol.num_frames} "
            f"square frames per view, all of one size, and the same objects as the ground truth. Please fix {count}:"
        )
        raise UserError("\n  ".join([head, *lines]))
