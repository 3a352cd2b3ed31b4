"""A first asset from nothing: a procedural object, a video of its motion, and the object moved as the video shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gvf.errors import UserError
from gvf.pipelines.asset import Asset4D
from gvf.pipelines.asset_files import demand_asset_folder
from gvf.pipelines.film import Film, FilmOptions, film, save_film
from gvf.pipelines.video_to_4d import Settings, VideoTo4D
from gvf.procedural.assets import write_asset
from gvf.progress import Progress
from gvf.storage.files import PathLike

OBJECT, VIDEO, ASSET = "object.glb", "video.mp4", "asset"


@dataclass(frozen=True)
class DemoOptions:
    """Which object is made, and how large its video is.

    family, index, seed: of the procedural generator; the presets train on assets of seed 0, so with any other seed neither
    the object nor its motion was seen in training. frames: of the video. size: its height and width in pixels.
    """

    family: str = "biped"
    index: int = 3
    seed: int = 2026
    frames: int = 24
    size: int = 256


def make_demo(generator: VideoTo4D, folder: PathLike, options: DemoOptions, progress: Progress) -> Asset4D:
    """Make an object, a video of it and an asset in a folder: `object.glb`, `video.mp4` and the folder `asset`.

    The generator sees the object in the pose of the first frame, and the video. Raises UserError when the folder holds
    anything else, or for an unknown family.
    """
    folder = Path(folder)
    _demand_demo_folder(folder)
    with progress.step("object") as step:
        model = write_asset(folder / OBJECT, options.family, options.index, options.seed)
        step.note(f"{options.family} {options.index} of seed {options.seed}, {model.stat().st_size / 1e3:.0f} kB")
    shown: Film = film(model, None, FilmOptions(frames=options.frames, size=options.size, samples=2), progress)
    save_film(shown, folder / VIDEO, None)
    asset = generator(folder / VIDEO, model, settings=Settings(clip=shown.clip), progress=progress)
    asset.save(folder / ASSET, progress, options.size)
    return asset


def _demand_demo_folder(folder: Path) -> None:
    """Raise UserError unless a demo can be written into a folder without touching other files."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file. Name another folder for the demo.")
    foreign = (
        sorted(item.name for item in folder.iterdir() if item.name not in (OBJECT, VIDEO, ASSET))
        if folder.is_dir()
        else []
    )
    if foreign:
        raise UserError(f"{folder}: holds something other than a demo ({foreign[0]}). Name another folder.")
    demand_asset_folder(folder / ASSET)
