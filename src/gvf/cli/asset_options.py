"""Options that `gvf animate` and `gvf generate` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

Command = Callable[..., None]

# Headings of the help, and the options under them; the others come first.
_GROUPS = {
    "Video": (
        *("frames", "rate", "start", "end", "folder_rate", "max_frames", "max_size"),
        *("crop", "margin", "matting", "matting_model"),
    ),
    "Camera": ("azimuth", "elevation", "fov"),
    "Motion": (
        *("seed", "candidates", "steps", "guidance", "refine"),
        *("segment_frames", "segments_from", "shared_noise"),
    ),
    "Output": ("size", "as_json", "quiet"),
}


class AssetCommand(click.Command):
    """A command whose help lists the options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        records = {option.name: option.get_help_record(ctx) for option in options}
        grouped = {name for names in _GROUPS.values() for name in names}
        sections = {"Options": [name for name in records if name not in grouped], **_GROUPS}
        for title, names in sections.items():
            rows = [row for name in names if (row := records.get(name)) is not None]
            with formatter.section(title):
                formatter.write_dl(rows)


_OPTIONS = [
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder for the asset."
    ),
    click.option(
        "--model",
        metavar="FOLDER|NAME",
        help="Generator: a folder, such as models/generator of a workspace, or owner/name on the model hub.  [default: gvf-small, "
        "which comes with gvf]",
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
        help="Number of frames to use, evenly spaced over the video.  [default: all]",
    ),
    click.option(
        "--rate",
        type=click.FloatRange(min=0, min_open=True),
        help="Frames to use per second of video, instead of --frames.",
    ),
    click.option("--start", type=click.FloatRange(min=0), default=0.0, help="Start of the part to use, in seconds."),
    click.option(
        "--end",
        type=click.FloatRange(min=0),
        help="End of the part to use, in seconds.  [default: the end of the video]",
    ),
    click.option(
        "--crop",
        type=click.Choice(["video", "frame"]),
        default="video",
        show_default=True,
        help="One square crop for the whole video, or one per frame, which follows a moving object.",
    ),
    click.option(
        "--margin",
        type=click.FloatRange(0.0, 2.0),
        help="Margin around the object in the crop, as a fraction of its size.  [default: 0.1]",
    ),
    click.option(
        "--matting",
        type=click.Choice(["auto", "alpha", "key", "network", "none"]),
        default="auto",
        show_default=True,
        help="How to remove the background: use the alpha channel, key out a plain colour, or run a matting network.",
    ),
    click.option(
        "--matting-model",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="ONNX file of the matting network (salient-object detection).",
    ),
    click.option(
        "--max-frames",
        type=click.IntRange(min=2),
        help="Refuse videos with more frames; all frames are held in memory.  [default: 240]",
    ),
    click.option(
        "--max-size",
        type=click.IntRange(32, 8192),
        help="Downscale frames to at most this many pixels on the longer side.  [default: 1024]",
    ),
    click.option(
        "--folder-rate",
        type=click.FloatRange(0.01, 1000),
        help="Frame rate of a folder of frames.  [default: that of its film.json, else 24]",
    ),
    click.option(
        "--azimuth",
        type=float,
        help="Camera azimuth in degrees; 0 is the front of the object.  [default: found by the alignment]",
    ),
    click.option(
        "--elevation",
        type=click.FloatRange(-89, 89),
        help="Camera elevation in degrees above the horizon.  [default: found by the alignment]",
    ),
    click.option(
        "--fov",
        type=click.FloatRange(5, 120),
        help="Vertical field of view of the whole video frame, in degrees.  [default: found by the alignment]",
    ),
    click.option(
        "--seed", type=int, default=0, show_default=True, help="Seed of the noise: another seed gives another motion."
    ),
    click.option(
        "--candidates",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        help="Number of motions to generate; the one that fits the video best is kept.",
    ),
    click.option(
        "--shared-noise",
        type=click.FloatRange(0, 1),
        help="Fraction of the noise that all frames share; values near 1 reduce jitter.  [default: 0]",
    ),
    click.option(
        "--steps",
        type=click.IntRange(1, 1000),
        help="Number of solver steps.  [default: that of the generator, or chosen by its adaptive solver]",
    ),
    click.option(
        "--guidance",
        type=click.FloatRange(0, 100),
        help="Classifier-free guidance scale; 1 turns guidance off.  [default: that of the generator]",
    ),
    click.option(
        "--refine",
        type=click.IntRange(0, 1000),
        metavar="STEPS",
        help="Steps in which the motion is fitted to the video after it was generated; 0 for none, as in the paper.  [default: "
        "that of the generator]",
    ),
    click.option(
        "--segment-frames",
        type=click.IntRange(min=2),
        help="Maximum number of frames generated at once.  [default: 3 times the length of the training clips]",
    ),
    click.option(
        "--segments-from",
        type=click.Choice(["last", "first"]),
        help="Frame that later segments start from: the last one generated, as in the paper, or the first of the video, which "
        "is better with small generators.  [default: last]",
    ),
    click.option(
        "--size",
        type=click.IntRange(64, 2048),
        default=512,
        show_default=True,
        help="Size of preview.mp4 and turntable.mp4, in pixels.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print progress (stderr) and the result (stdout) as JSON."),
    click.option("-q", "--quiet", is_flag=True, help="Show warnings only."),
]


def asset_options(command: Command) -> Command:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
