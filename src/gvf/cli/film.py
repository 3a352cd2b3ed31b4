"""Command `film`, which renders a conditioning video of an animated model: an example of a good input."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("film")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--clip", metavar="NAME", help="Animation to render. Required if the file has several.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="A video (.mp4, .webm, .gif), or a folder for RGBA frames and film.json.",
)
@click.option(
    "--azimuth",
    type=float,
    default=0.0,
    show_default=True,
    help="Camera azimuth in degrees; 0 is the front of the object.",
)
@click.option(
    "--elevation",
    type=click.FloatRange(-90, 90),
    default=0.0,
    show_default=True,
    help="Camera elevation in degrees above the horizon.",
)
@click.option("--fov", type=click.FloatRange(5, 120), default=49.1, show_default=True, help="Field of view in degrees.")
@click.option(
    "--frames",
    type=click.IntRange(min=2),
    help="Number of frames, evenly spaced from the first keyframe to the last.  [default: 24]",
)
@click.option(
    "--fps",
    type=click.FloatRange(0, 1000, min_open=True),
    help="Frame rate, instead of --frames.  [default: the rate at which --frames span the animation]",
)
@click.option(
    "--size", type=click.IntRange(16, 4096), default=512, show_default=True, help="Height and width in pixels."
)
@click.option(
    "--samples",
    type=click.IntRange(1, 16),
    default=4,
    show_default=True,
    help="Anti-aliasing: rays along each side of a pixel.",
)
@click.option(
    "--background",
    metavar="COLOUR",
    help="Colour name or #rrggbb.  [default: white in a video, transparent in a folder]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Report progress on stderr and what was filmed on stdout as JSON."
)
@click.option("-q", "--quiet", is_flag=True, help="Show warnings only.")
def command(
    file: Path,
    clip: str | None,
    output: Path,
    azimuth: float,
    elevation: float,
    fov: float,
    frames: int | None,
    fps: float | None,
    size: int,
    samples: int,
    background: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Render one animation of FILE (.glb or .gltf) as a video, with the lighting and framing of training videos."""
    from gvf.cli.progress_output import progress_output
    from gvf.pipelines.film import FilmOptions, check_output, film, parse_color, save_film

    progress = progress_output(as_json, quiet)
    check_output(output, size)
    color = None if background is None else parse_color(background)
    options = FilmOptions(azimuth, elevation, fov, frames, fps, size, samples)
    made = film(file, clip, options, progress)
    save_film(made, output, color)
    if made.touches_border:
        progress.warn(f"{made.clip!r} touches the border of the picture. Raise --fov to see all of the object.")
    if as_json:
        click.echo(json.dumps({"output": str(output), **made.facts()}))
    elif not quiet:
        click.echo(
            f"{output}: {len(made.frames)} frames of {made.clip!r} at {made.frames_per_second:.4g} per second, azimuth "
            f"{azimuth:g}, elevation {elevation:g}, field of view {fov:g} degrees"
        )
