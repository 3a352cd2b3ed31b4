"""Command `compare`, which scores a generated asset against the ground-truth animation of its character."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("compare")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--truth",
    type=click.Path(path_type=Path),
    required=True,
    help="Animated model with the ground truth (.glb or .gltf).",
)
@click.option("--clip", metavar="NAME", help="Animation of that model. Required if it has several.")
@click.option(
    "--times",
    type=click.Choice(["seconds", "even"]),
    default="seconds",
    show_default=True,
    help="Compare frames at their own times, or spread them evenly over the animation.",
)
@click.option(
    "--size",
    type=click.IntRange(16, 2048),
    default=512,
    show_default=True,
    help="Height and width of the rendered views, in pixels.",
)
@click.option(
    "--samples",
    type=click.IntRange(1, 16),
    default=4,
    show_default=True,
    help="Anti-aliasing of the ground truth: rays along each side of a pixel.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Report progress on stderr and all scores on stdout as JSON.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write all scores to this file, as JSON.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show warnings only.")
def command(
    folder: Path,
    truth: Path,
    clip: str | None,
    times: str,
    size: int,
    samples: int,
    device: str,
    as_json: bool,
    output: Path | None,
    quiet: bool,
) -> None:
    """Score the asset in DIR against the animation that its video shows.

    Two references are scored in the same run: `static`, the canonical Gaussians without motion, and `interpolated`, the
    same Gaussians moved by the ground-truth mesh. PSNR and SSIM are means over four views around the object other than
    that of the video. In PSNR, gap closed is (asset - static) / (interpolated - static).
    """
    from gvf.cli.progress_output import progress_output
    from gvf.devices import resolve_device
    from gvf.storage.files import write_json
    from gvf_evaluation.asset_scores import score_asset, table

    progress = progress_output(as_json, quiet)
    scores = score_asset(folder, truth, clip, times == "even", size, samples, resolve_device(device), progress)
    if output is not None:
        write_json(output, scores)
    click.echo(json.dumps(scores, indent=2) if as_json else table(scores))
