"""Command `export`, which writes an asset in the formats of other tools: splats, USD or video."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from gvf.formats.table import FORMATS

if TYPE_CHECKING:
    from gvf.formats.exports import Shot

_VIDEO_OPTIONS = ("view", "size", "background", "seconds")
_TRANSPARENT = "transparent"
_LIST = "\n".join(f"  {name:<6} {form.help}" for name, form in FORMATS.items())


@click.command(
    "export",
    short_help="Write an asset as PLY, splat, SPZ, GLB, USD or video.",
    help=f"""Write the asset in DIR, or a single asset.glb, in a format that other tools read.

\b
Formats:
{_LIST}

ply, splat and spz hold one frame per file: several frames are written as a folder of numbered files, a single frame as one
file. The output is written beside DIR unless -o is given. docs/exports.md lists the tools that open each format.
""",
)
@click.argument("asset", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "name", type=click.Choice(list(FORMATS)), required=True, help="Format to write; see above.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder to write.  [default: beside DIR]")
@click.option(
    "--frames",
    default="all",
    show_default=True,
    metavar="WHICH",
    help="Frames to write: all, one such as 0, or a range such as 0-11.",
)
@click.option(
    "--view",
    default="turntable",
    show_default=True,
    metavar="VIEW",
    help="Videos: turntable, input (the camera of the input video), or AZIMUTH,ELEVATION in degrees.",
)
@click.option(
    "--size", type=click.IntRange(16, 4096), default=512, show_default=True, help="Videos: height and width in pixels."
)
@click.option(
    "--background",
    default="white",
    show_default=True,
    metavar="COLOUR",
    help="Videos: colour name, #rrggbb, or transparent (webm only).",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 600, min_open=True),
    default=6.0,
    show_default=True,
    help="Turntable videos: duration, rounded up to whole repetitions of the motion.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--json", "as_json", is_flag=True, help="Print progress (stderr) and the result (stdout) as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Show warnings only.")
@click.pass_context
def command(
    context: click.Context,
    asset: Path,
    name: str,
    output: Path | None,
    frames: str,
    view: str,
    size: int,
    background: str,
    seconds: float,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    _refuse_video_options(context, name, view)
    from gvf.cli.progress_output import progress_output
    from gvf.pipelines.asset_export import export_asset

    written = export_asset(
        asset,
        name,
        output,
        frames=frames,
        shot=_shot(name, view, size, background, seconds),
        overwrite=overwrite,
        progress=progress_output(as_json, quiet),
    )
    _summarise(written, as_json, quiet)


def _summarise(written: Path, as_json: bool, quiet: bool) -> None:
    files = list(written.iterdir()) if written.is_dir() else [written]
    total = sum(file.stat().st_size for file in files)
    if as_json:
        click.echo(json.dumps({"output": str(written), "files": len(files), "bytes": total}))
    elif not quiet:
        click.echo(f"{written}: {f'{len(files)} files, ' if written.is_dir() else ''}{total / 1e6:.3g} MB")


def _refuse_video_options(context: click.Context, name: str, view: str) -> None:
    """Refuse options that have no effect."""
    given = [option for option in _VIDEO_OPTIONS if context.get_parameter_source(option) is ParameterSource.COMMANDLINE]
    if given and not FORMATS[name].video:
        raise click.UsageError(
            f"--{given[0]} has no effect on the format {name}. Leave it out, or choose --format mp4 or webm."
        )
    if "seconds" in given and view != "turntable":
        raise click.UsageError(
            "--seconds has an effect on --view turntable only; other videos last as long as the motion. Leave it out."
        )


def _shot(name: str, view: str, size: int, background: str, seconds: float) -> Shot | None:
    """Return how a video is rendered, None for other formats."""
    if not FORMATS[name].video:
        return None
    from gvf.errors import UserError
    from gvf.formats.exports import Shot
    from gvf.pipelines.asset_export import parse_view
    from gvf.pipelines.film import parse_color

    if background != _TRANSPARENT:
        red, green, blue = parse_color(background)
        return Shot(parse_view(view), size, (red / 255, green / 255, blue / 255), seconds)
    if name != "webm":
        raise UserError(f"--background: {name} has no transparency. Use --format webm, or a colour.")
    return Shot(parse_view(view), size, None, seconds)
