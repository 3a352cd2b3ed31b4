"""Draw the contact sheet of an input video: the frames that the model will see, with their numbers and times."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gvf.video.input_video import InputVideo

_TILE, _CAPTION, _GAP = 160, 18, 4
_MOST, _COLUMNS = 48, 8
_SQUARE = 10  # of the checkerboard
_LIGHT, _DARK, _PAPER, _INK, _MARK = 255, 214, (255, 255, 255), (40, 40, 40), (200, 60, 0)


def contact_sheet(video: InputVideo) -> np.ndarray:
    """Return an image uint8 [H, W, 3] of at most 48 frames, evenly spread, on a checkerboard.

    Captions give the frame's number and its time in seconds; those of frames with a warning are in colour.
    """
    total = len(video.frames)
    indices = np.unique(np.linspace(0, total - 1, min(total, _MOST)).round().astype(int))
    columns = min(_COLUMNS, len(indices))
    rows = math.ceil(len(indices) / columns)
    across, down = _TILE + _GAP, _TILE + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * across + _GAP, rows * down + _GAP), _PAPER)
    drawing, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    warned = {frame for finding in video.findings if finding.severity == "warning" for frame in finding.frames}
    board = _checkerboard()
    for place, index in enumerate(indices):
        left, top = _GAP + place % columns * across, _GAP + place // columns * down
        frame = Image.fromarray(video.frames[int(index)]).resize((_TILE, _TILE), Image.Resampling.BOX)
        sheet.paste(Image.alpha_composite(board, frame).convert("RGB"), (left, top))
        caption = f"{index}   {float(video.times[int(index)]):.2f} s"
        drawing.text((left + 2, top + _TILE + 2), caption, _MARK if index in warned else _INK, font)
    return np.asarray(sheet)


def _checkerboard() -> Image.Image:
    y, x = np.indices((_TILE, _TILE)) // _SQUARE
    grey = np.where((x + y) % 2, _LIGHT, _DARK).astype(np.uint8)
    return Image.fromarray(np.dstack([grey, grey, grey, np.full_like(grey, 255)]))
