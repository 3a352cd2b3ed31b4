"""Findings about an input video, with advice, reported before anything slow runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gvf.errors import UserError
from gvf.progress import Progress

Severity = Literal["error", "warning", "note"]
_MOST_NAMED = 6


@dataclass(frozen=True)
class Finding:
    """One observation about the input.

    code: a stable name for scripts, such as `border`. message: what was found and what to do about it.
    frames: indices of the sampled frames concerned; empty where it concerns the whole video.
    """

    code: str
    severity: Severity
    message: str
    frames: tuple[int, ...] = ()


def report(findings: Iterable[Finding], name: str, progress: Progress) -> tuple[Finding, ...]:
    """Pass warnings on, and return all findings. Raises UserError with the messages of all errors, if there are any."""
    found = tuple(findings)
    errors = [f"{name}: {finding.message}" for finding in found if finding.severity == "error"]
    if errors:
        raise UserError("\n".join(errors))
    for finding in found:
        if finding.severity == "warning":
            progress.warn(finding.message)
    return found


def named_frames(frames: Sequence[int], total: int) -> str:
    """Return a phrase for some of the frames: `in all frames`, `in frame 3`, `in frames 3-7, 12`."""
    if len(frames) == total:
        return "in all frames"
    spans: list[list[int]] = []
    for frame in frames:
        if spans and frame == spans[-1][1] + 1:
            spans[-1][1] = frame
        else:
            spans.append([frame, frame])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    if len(texts) > _MOST_NAMED:
        texts = [*texts[:_MOST_NAMED], "..."]
    return f"in frame {texts[0]}" if len(frames) == 1 else f"in frames {', '.join(texts)}"
