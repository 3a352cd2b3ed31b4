"""Command `export`: an asset for other tools, as splats, USD or video."""

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
    help=f"""Write the asset in the folder DIR, or a single asset.glb, in a format of other tools.

\b
Formats:
{_LIST}

ply, splat and spz hold one frame per file: all frames become a folder of numbered files, one frame a single file.
The default output lies beside the asset. docs/exports.md says which tool opens what.
""",
)
@click.argument("asset", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "name", type=click.Choice(list(FORMATS)), required=True, help="What to write; see above.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder to write.  [default: beside DIR]")
@click.option(
    "--frames",
    default="all",
    show_default=True,
    metavar="WHICH",
    help="all, one frame such as 0, or a range such as 0-11.",
)
@click.option(
    "--view",
    default="turntable",
    show_default=True,
    metavar="VIEW",
    help="Camera of a video: turntable, input (the camera of the input video), or AZIMUTH,ELEVATION in degrees.",
)
@click.option(
    "--size", type=click.IntRange(16, 4096), default=512, show_default=True, help="Side of a video in pixels."
)
@click.option(
    "--background",
    default="white",
    show_default=True,
    metavar="COLOUR",
    help="Behind a video: a name, #rrggbb, or, for webm, transparent.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 600, min_open=True),
    default=6.0,
    show_default=True,
    help="Duration of a turntable; it is rounded up to whole repetitions of the motion.",
)
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@click.option("--json", "as_json", is_flag=True, help="Report progress on stderr and the result on stdout as JSON.")
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
        raise click.UsageError(f"--{given[0]} is for videos; the format {name} has no use for it.")
    if "seconds" in given and view != "turntable":
        raise click.UsageError("--seconds is for --view turntable; other videos last as long as the motion.")


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
        raise UserError(f"--background: {name} holds no transparency. Use --format webm, or a colour.")
    return Shot(parse_view(view), size, None, seconds)
