"""First assets from nothing: a procedural object and a video of its motion, made 4D with the object and from the video alone."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from gvf.errors import GvfError, UserError
from gvf.pipelines.asset import Asset4D
from gvf.pipelines.asset_files import PAGE_NAME, demand_asset_folder
from gvf.pipelines.film import Film, FilmOptions, film, save_film
from gvf.pipelines.generator_folder import IMAGE_FOLDER
from gvf.pipelines.image_networks import holds_image_networks
from gvf.pipelines.video_to_4d import Settings, VideoTo4D
from gvf.procedural.assets import write_asset
from gvf.progress import Progress
from gvf.storage.files import PathLike
from gvf.viewer.gallery import Exhibit, write_gallery

OBJECT, VIDEO, ASSET, VIDEO_ONLY = "object.glb", "video.mp4", "asset", "video_only"


@dataclass(frozen=True)
class DemoOptions:
    """Which object is made, and how large its video is.

    family, index, seed: of the procedural generator; the presets train on assets of seed 0, so with any other seed neither
    the object nor its motion was seen in training. frames: of the video. size: its height and width in pixels. model: name of
    the generator in the commands that the page shows, None for the default one.
    """

    family: str = "biped"
    index: int = 3
    seed: int = 2026
    frames: int = 24
    size: int = 256
    model: str | None = None


@dataclass(frozen=True)
class Demo:
    """What was made. page: shows all of it. of_model: moves as the video shows. of_video: made from the video alone.

    missing: why there is no asset of the video alone; empty where there is one.
    """

    page: Path
    of_model: Asset4D
    of_video: Asset4D | None
    missing: str = ""


def make_demo(generator: VideoTo4D, folder: PathLike, options: DemoOptions, progress: Progress) -> Demo:
    """Make an object, a video of it, one or two assets and a page in a folder.

    The folder `asset` comes from the object in the pose of the first frame, and the video; the folder `video_only` comes from
    the video alone, where the generator has networks for that. Raises UserError when the folder holds anything else, or for
    an unknown family.
    """
    folder = Path(folder)
    _demand_demo_folder(folder)
    with progress.step("object") as step:
        model = write_asset(folder / OBJECT, options.family, options.index, options.seed)
        step.note(f"{options.family} {options.index} of seed {options.seed}, {model.stat().st_size / 1e3:.0f} kB")
    shown: Film = film(model, None, FilmOptions(frames=options.frames, size=options.size, samples=2), progress)
    save_film(shown, folder / VIDEO, None)
    of_model = generator(folder / VIDEO, model, settings=Settings(clip=shown.clip), progress=progress)
    of_model.save(folder / ASSET, progress, options.size)
    of_video, missing = _of_video(generator, folder, options.size, progress)
    demo = Demo(folder / PAGE_NAME, of_model, of_video, missing)
    _write_page(demo, shown.clip, options)
    return demo


def _of_video(generator: VideoTo4D, folder: Path, size: int, progress: Progress) -> tuple[Asset4D | None, str]:
    """Return the asset of the video alone, which is saved, or None and the reason. One of an earlier demo is removed."""
    if (folder / VIDEO_ONLY).exists():
        shutil.rmtree(folder / VIDEO_ONLY)
    networks = None if generator.folder is None else generator.folder / IMAGE_FOLDER
    if networks is None or not networks.is_dir() or not holds_image_networks(networks):
        missing = (
            f"The generator has no networks from an image (folder {IMAGE_FOLDER}), so the object cannot come from the video "
            "alone. Generators that the whole pipeline trains have them."
        )
        progress.warn(missing)
        return None, missing
    try:
        asset = generator(folder / VIDEO, progress=progress)
    except GvfError as error:
        progress.warn(f"no object from the video alone: {error}")
        return None, f"It failed: {error}"
    asset.save(folder / VIDEO_ONLY, progress, size)
    return asset, ""


def _write_page(demo: Demo, clip: str, options: DemoOptions) -> None:
    """Write the page that shows both ways beside each other."""
    model = "" if options.model is None else f" --model {shlex.quote(options.model)}"
    exhibits = (
        Exhibit(
            "With a model of the object",
            f"Shape and colours of {OBJECT}, which moves as {VIDEO} shows.",
            f"gvf animate {OBJECT} {VIDEO} --clip {shlex.quote(clip)}{model} -o {ASSET}",
            f"{ASSET}/{PAGE_NAME}",
        ),
        Exhibit(
            "From the video alone",
            demo.missing or f"The object, too, is generated from {VIDEO}: what it does not show is made up.",
            f"gvf generate {VIDEO}{model} -o {VIDEO_ONLY}",
            None if demo.of_video is None else f"{VIDEO_ONLY}/{PAGE_NAME}",
        ),
    )
    write_gallery(
        demo.page,
        f"One video, two ways to 4D: {options.family} {options.index}",
        f"Object and video are generated; with a seed other than 0 (here {options.seed}), the generator has seen neither.",
        exhibits,
    )


def _demand_demo_folder(folder: Path) -> None:
    """Raise UserError unless a demo can be written into a folder without touching other files."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file. Name another folder for the demo.")
    found = {item.name for item in folder.iterdir()} if folder.is_dir() else set()
    own = {OBJECT, VIDEO, ASSET} | ({VIDEO_ONLY, PAGE_NAME} if OBJECT in found else set())
    if foreign := sorted(found - own):
        raise UserError(f"{folder}: holds something other than a demo ({foreign[0]}). Name another folder.")
    for name in (ASSET, VIDEO_ONLY):
        demand_asset_folder(folder / name)
