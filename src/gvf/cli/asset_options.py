"""Options that `gvf animate` and `gvf generate` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

Command = Callable[..., None]

_OPTIONS = [
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder for the asset."
    ),
    click.option(
        "--model",
        metavar="FOLDER|NAME",
        help="Generator: a folder, or owner/name on the model hub. By default the one of this workspace (models/generator).",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "cpu", "cuda"]),
        help="Device for the networks.",
    ),
    click.option(
        "--frames",
        type=click.IntRange(min=2),
        help="Number of frames, evenly spaced over the video. By default all of them.",
    ),
    click.option(
        "--rate",
        type=click.FloatRange(min=0, min_open=True),
        help="Frames per second to take from the video, instead of --frames.",
    ),
    click.option("--start", type=click.FloatRange(min=0), default=0.0, help="Where to start in the video, seconds."),
    click.option("--end", type=click.FloatRange(min=0), help="Where to end in the video, seconds."),
    click.option(
        "--crop",
        type=click.Choice(["video", "frame"]),
        default="video",
        show_default=True,
        help="One square crop for all frames, or one per frame, which follows an object that travels.",
    ),
    click.option(
        "--margin", type=click.FloatRange(0.0, 2.0), help="Margin of the crop, as a share of the object's size."
    ),
    click.option(
        "--matting",
        type=click.Choice(["auto", "alpha", "key", "network", "none"]),
        default="auto",
        show_default=True,
        help="How the background is removed: by the video's own alpha, a plain background's colour, or a network.",
    ),
    click.option(
        "--matting-model",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="ONNX file of a salient-object network.",
    ),
    click.option(
        "--max-frames",
        type=click.IntRange(min=2),
        help="Refuse to read more frames than this; all of them are held in memory.  [default: 240]",
    ),
    click.option(
        "--max-size",
        type=click.IntRange(32, 8192),
        help="Reduce frames while reading to at most so many pixels along their longer side.  [default: 1024]",
    ),
    click.option(
        "--folder-rate",
        type=click.FloatRange(0.01, 1000),
        help="Frames per second of a folder of frames.  [default: 24]",
    ),
    click.option(
        "--azimuth",
        type=float,
        help="Where the camera is, degrees around the object (0 is its front), instead of searching for it.",
    ),
    click.option(
        "--elevation",
        type=click.FloatRange(-89, 89),
        help="Height of the camera, degrees, instead of searching for it.",
    ),
    click.option(
        "--fov",
        type=click.FloatRange(5, 120),
        help="The video's vertical field of view, degrees, instead of searching for it.",
    ),
    click.option(
        "--seed", type=int, default=0, show_default=True, help="Seed of the noise: another seed gives another motion."
    ),
    click.option(
        "--candidates",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        help="Sample this many motions and keep the one that fits the video best.",
    ),
    click.option(
        "--shared-noise",
        type=click.FloatRange(0, 1),
        help="Share of the noise that all frames have in common; 1 makes motion that trembles smoother.  [default: 0]",
    ),
    click.option("--steps", type=click.IntRange(1, 1000), help="Solver steps; by default the solver chooses them."),
    click.option(
        "--guidance",
        type=click.FloatRange(0, 100),
        help="Guidance by the video; 1 is none. By default the generator's.",
    ),
    click.option(
        "--segment-frames",
        type=click.IntRange(min=2),
        help="Most frames generated together.  [default: 3 times those of the training clips]",
    ),
    click.option(
        "--segments-from",
        type=click.Choice(["last", "first"]),
        help="What later segments start from: the last frame generated, as in the paper, or the first frame, which is better "
        "with small generators, whose errors add up.  [default: last]",
    ),
    click.option(
        "--size",
        type=click.IntRange(64, 2048),
        default=512,
        show_default=True,
        help="Size of preview and turntable, pixels.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Report progress on stderr and the result on stdout as JSON."),
    click.option("-q", "--quiet", is_flag=True, help="Show warnings only."),
]


def asset_options(command: Command) -> Command:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
