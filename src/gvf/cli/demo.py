"""Command `demo`, which makes first assets without any input: everything they need is generated."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

import click

FOLDER = Path("work/demo")


@click.command("demo")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER,
    show_default=True,
    help="Folder for the object, its video, the assets and the page.",
)
@click.option("--model", metavar="FOLDER|NAME", help="Generator, as in `gvf animate`.  [default: gvf-small]")
@click.option("--family", default="biped", show_default=True, help="Kind of object, as in collect.procedural.families.")
@click.option("--index", type=click.IntRange(min=0), default=3, show_default=True, help="Number of the object.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=2026, show_default=True, help="Seed of the object and its motion."
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Device for the networks.",
)
@click.option("--browser/--no-browser", default=None, help="Open the page.  [default: where there is a display]")
@click.option("-q", "--quiet", is_flag=True, help="Show warnings and the result only.")
def command(
    output: Path,
    model: str | None,
    family: str,
    index: int,
    seed: int,
    device: str,
    browser: bool | None,
    quiet: bool,
) -> None:
    """Make a procedural object and a video of it 4D in two ways, and open the page that plays both results.

    The object moves as the video shows, as by `gvf animate`; and object and motion come from the video alone, as by `gvf
    generate`, where the generator has networks for that. Object and video are generated, so nothing is downloaded; with a seed
    other than that of the training data (0), the generator has seen neither.
    """
    from gvf.cli.progress_output import progress_output
    from gvf.devices import resolve_device
    from gvf.pipelines.demo import DemoOptions, make_demo
    from gvf.pipelines.hub import SHIPPED
    from gvf.pipelines.video_to_4d import VideoTo4D

    progress = progress_output(as_json=False, quiet=quiet)
    with progress.step("load") as step:
        generator = VideoTo4D.from_pretrained(model or SHIPPED, device=resolve_device(device))
        step.note(f"generator {model or SHIPPED}: {generator.index.title}")
    made = make_demo(generator, output, DemoOptions(family=family, index=index, seed=seed, model=model), progress)
    count = f"{made.of_model.manifest.num_gaussians:,} Gaussians with the model"
    if made.of_video is not None:
        count += f" and {made.of_video.manifest.num_gaussians:,} from the video alone"
    click.echo(
        f"{made.page}: {made.of_model.manifest.num_frames} frames of {count}. Open it in a browser, or run `gvf view {output}`."
    )
    if has_display() if browser is None else browser:
        webbrowser.open(made.page.resolve().as_uri())


def has_display() -> bool:
    """Return whether a graphical browser can be opened: there is a display, and the user is not on another machine."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
