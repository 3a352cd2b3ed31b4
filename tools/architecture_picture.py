"""Draw docs/architecture.svg: the rooms of the code by level, from `tools.levels`.

`python tools/architecture_picture.py` writes the file; a test compares it with what this module returns.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence, Set
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "architecture.svg"

# room -> what it holds, in at most 20 characters
WORDS = {
    "cli": "the gvf command",
    "config": "typed parameters",
    "data": "clips, glTF",
    "devices": "CPU or CUDA",
    "diffusion": "noise, solver",
    "errors": "messages",
    "execution": "map over clips",
    "formats": "asset files",
    "gaussians": "fields, channels",
    "geometry": "cameras, k-NN",
    "lifetime": "signals",
    "locks": "one run at a time",
    "losses": "named equations",
    "methods": "names of methods",
    "metrics": "table of metrics",
    "models": "networks",
    "pipelines": "video to 4D",
    "procedural": "generated objects",
    "progress": "reports",
    "rendering": "rasterisers",
    "stage_runner": "runs one stage",
    "stages": "DVC stages",
    "compiled": "kernels for CPUs",
    "storage": "files, images",
    "text": "clean names",
    "tracking": "MLflow runs",
    "training": "engine, loop, tasks",
    "video": "frames, masks",
    "viewer": "web player",
    "weights": "published weights",
    "stage_table": "stages in order",
    "workspace": "all paths",
}

WIDTH, MARGIN, GAP = 680, 24, 10
COLUMNS, ROOM_HEIGHT, LEVEL_GAP = 4, 50, 30

STYLE = """
  .paper { fill: #ffffff; }
  .level { fill: #eef1f8; }
  .room { fill: #ffffff; stroke: #5a6b9c; }
  .top .room { fill: #fff4e0; stroke: #a8741a; }
  .name { fill: #1d2540; font: 600 16px ui-monospace, "DejaVu Sans Mono", monospace; }
  .words { fill: #4b5675; font: 13px system-ui, "DejaVu Sans", sans-serif; }
  .arrow { stroke: #5a6b9c; stroke-width: 2; fill: none; }
  .head { fill: #5a6b9c; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #1b1e2b; }
    .level { fill: #272c3f; }
    .room { fill: #1b1e2b; stroke: #93a4d8; }
    .top .room { fill: #382b14; stroke: #e0b060; }
    .name { fill: #eef1fb; }
    .words { fill: #b8c2e0; }
    .arrow { stroke: #93a4d8; }
    .head { fill: #93a4d8; }
  }
"""


def draw(levels: Sequence[Set[str]]) -> str:
    """Return the diagram as SVG. levels: rooms of src/gvf from the lowest level to the highest."""
    parts: list[str] = []
    y = MARGIN
    beside = [
        ("evaluation/", "protocols, scoring, reports"),
        ("flows/", "Prefect, runs dvc repro"),
        ("benchmarks/", "timings"),
    ]
    parts.append('<g class="top">')
    height = _row(parts, beside, y)
    parts.append("</g>")
    y += height
    for number in reversed(range(len(levels))):
        parts.append(_arrow(y))
        y += LEVEL_GAP
        parts.append(f'<g id="level-{number}">')
        y += _level(parts, [(name, WORDS[name]) for name in sorted(levels[number])], y)
        parts.append("</g>")
    total = y + MARGIN
    title = "Rooms of the code by level; imports run downwards only"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" role="img">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n"
        f'<rect class="paper" width="{WIDTH}" height="{total}" rx="10"/>'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _level(parts: list[str], rooms: Sequence[tuple[str, str]], y: int) -> int:
    """Append one level's background and rooms, at most COLUMNS in a row, and return its height."""
    rows = -(-len(rooms) // COLUMNS)
    height = rows * ROOM_HEIGHT + (rows + 1) * GAP
    parts.append(f'<rect class="level" x="{MARGIN}" y="{y}" width="{WIDTH - 2 * MARGIN}" height="{height}" rx="8"/>')
    size = -(-len(rooms) // rows)
    for row in range(rows):
        _row(parts, rooms[row * size : (row + 1) * size], y + GAP + row * (ROOM_HEIGHT + GAP), inset=GAP)
    return height


def _row(parts: list[str], rooms: Sequence[tuple[str, str]], y: int, inset: int = 0) -> int:
    """Append one row of rooms over the whole width and return its height."""
    left, right = MARGIN + inset, WIDTH - MARGIN - inset
    width = (right - left - GAP * (len(rooms) - 1)) / len(rooms)
    for index, (name, words) in enumerate(rooms):
        x = left + index * (width + GAP)
        middle = x + width / 2
        parts.append(f'<rect class="room" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROOM_HEIGHT}" rx="6"/>')
        parts.append(f'<text class="name" x="{middle:.1f}" y="{y + 21}" text-anchor="middle">{escape(name)}</text>')
        parts.append(f'<text class="words" x="{middle:.1f}" y="{y + 40}" text-anchor="middle">{escape(words)}</text>')
    return ROOM_HEIGHT


def _arrow(y: int) -> str:
    """Return an arrow down from `y` to the next level."""
    x, tip = WIDTH // 2, y + LEVEL_GAP - 3
    return (
        f'<path class="arrow" d="M{x} {y + 3}V{tip - 7}"/>'
        f'<path class="head" d="M{x - 7} {tip - 9}H{x + 7}L{x} {tip}Z"/>'
    )


def main() -> None:
    """Write the diagram."""
    sys.path.insert(0, str(ROOT))
    from tools.levels import LEVELS

    FILE.write_text(draw(LEVELS), encoding="utf-8")


if __name__ == "__main__":
    main()
