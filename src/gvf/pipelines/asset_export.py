"""Export an asset's folder, or a lone `asset.glb`, to the formats of other tools."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from gvf.devices import resolve_device
from gvf.errors import UserError
from gvf.formats.asset_glb import load_asset_glb
from gvf.formats.exports import Moving, Shot, export
from gvf.formats.numbered import holds_only_frames
from gvf.formats.table import FORMATS
from gvf.geometry.camera import OrbitCamera
from gvf.locks import demand_writable
from gvf.pipelines.asset import Asset4D
from gvf.pipelines.asset_files import ASSET_NAME
from gvf.pipelines.asset_manifest import CameraFacts, as_facts
from gvf.progress import Progress
from gvf.rendering.turntable import FOV, RADIUS
from gvf.storage.files import PathLike, atomic_path

ALL = "all"


def export_asset(
    asset: PathLike,
    name: str,
    output: PathLike | None = None,
    *,
    frames: str = ALL,
    shot: Shot | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write an asset, or some of its frames, in another format; returns the file or folder.

    asset: its folder, or its `asset.glb`. name: a format of `gvf.formats.table`. output: by default beside the asset, named
    after it. frames: `all`, a number from 0, or `FIRST-LAST`. shot: for videos; by default a turntable over white.
    Raises UserError for another format, an asset that cannot be read, and an output that exists without `overwrite`.
    """
    if name not in FORMATS:
        raise UserError(f"{name!r} is not an export format. Choose one of {', '.join(FORMATS)}.")
    progress = progress or Progress()
    with progress.step("read"):
        moving = read_moving(asset)
    chosen = chosen_frames(frames, len(moving.gaussians.means))
    is_folder = FORMATS[name].numbered and len(chosen) > 1
    target = Path(output) if output is not None else _default_output(Path(asset), name, is_folder)
    check_output(target, name, is_folder, Path(asset), overwrite)
    if name == "glb" and frames == ALL:
        with atomic_path(target) as partial:
            shutil.copyfile(_file(Path(asset)), partial)
        return target
    part = moving.gaussians[chosen.start : chosen.stop]
    if FORMATS[name].video:
        part = part.to(resolve_device("auto"))
    export(replace(moving, gaussians=part), name, target, chosen.start, shot or Shot(), progress)
    return target


def read_moving(asset: PathLike) -> Moving:
    """Read the Gaussians of an asset's folder or `asset.glb`, with the camera of its manifest or its facts."""
    path = Path(asset)
    if not path.exists():
        raise UserError(
            f"{path}: there is no such file or folder. Name a folder that gvf generate or gvf animate wrote."
        )
    if path.is_dir():
        return _moving_of(Asset4D.load(path))
    content = load_asset_glb(path)
    return Moving(
        content.gaussians,
        content.frames_per_second,
        content.low_pass,
        content.compensate,
        _camera_of(path, content.facts),
        content.facts,
    )


def _moving_of(asset: Asset4D) -> Moving:
    rendering = asset.manifest.rendering
    return Moving(
        asset.gaussians,
        asset.frames_per_second,
        rendering.low_pass,
        rendering.compensate,
        asset.camera,
        as_facts(asset.manifest),
    )


def _camera_of(path: Path, facts: Mapping[str, Any]) -> OrbitCamera | None:
    """Return the camera that the facts of an `asset.glb` hold, if any."""
    if "camera" not in facts:
        return None
    try:
        return CameraFacts.model_validate(facts["camera"]).camera()
    except ValidationError:
        raise UserError(f"{path}: its facts hold a camera that cannot be read.") from None


def chosen_frames(text: str, num_frames: int) -> range:
    """Return the frames that `all`, `NUMBER` or `FIRST-LAST` names. Raises UserError for any other text or frame."""
    if text == ALL:
        return range(num_frames)
    found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text)
    if found is None:
        raise UserError(f"--frames: {text!r} is neither {ALL}, a number such as 0, nor a range such as 0-11.")
    first = int(found[1])
    last = first if found[2] is None else int(found[2])
    if not first <= last < num_frames:
        raise UserError(f"--frames: {text} is not within the frames of this asset, 0 to {num_frames - 1}.")
    return range(first, last + 1)


def parse_view(text: str) -> OrbitCamera | Literal["turntable", "input"]:
    """Return the view that `turntable`, `input` or `AZIMUTH,ELEVATION` (degrees) names. Raises UserError otherwise."""
    if text == "turntable":
        return "turntable"
    if text == "input":
        return "input"
    try:
        azimuth, elevation = map(float, text.split(","))
    except ValueError:
        azimuth = elevation = math.nan
    if not (math.isfinite(azimuth) and -90 <= elevation <= 90):
        raise UserError(
            f"--view: {text!r} is neither turntable, input, nor AZIMUTH,ELEVATION in degrees such as 30,15, with an elevation "
            "from -90 to 90."
        )
    return OrbitCamera(azimuth, elevation, RADIUS, FOV)


def check_output(output: Path, name: str, is_folder: bool, asset: Path, overwrite: bool) -> None:
    """Raise UserError unless `output` can be written without destroying anything that the user did not mean.

    is_folder: whether a folder of numbered files is written. An existing output is replaced only with `overwrite`, a folder
    only if it holds nothing but such files, and files of the asset itself never.
    """
    form = FORMATS[name]
    inside = [asset, *asset.iterdir()] if asset.is_dir() else [asset]
    if output.resolve() in [path.resolve() for path in inside]:
        raise UserError(f"{output}: belongs to the asset itself. Name another output with -o.")
    if is_folder:
        if output.suffix.lower() in form.suffixes or output.is_file():
            raise UserError(
                f"{output}: {name} holds one frame per file, so a folder is written. Name a folder with -o, or choose one frame "
                "with --frames."
            )
        if output.is_dir() and not holds_only_frames(output, form.suffixes[0]):
            raise UserError(
                f"{output}: holds other files, and the export replaces the whole folder. Name a new folder with -o."
            )
        exists = output.is_dir() and any(output.iterdir())
    else:
        if output.suffix.lower() not in form.suffixes:
            raise UserError(
                f"{output}: the format {name} is written to a file that ends in {' or '.join(form.suffixes)}."
            )
        if output.is_dir():
            raise UserError(f"{output}: is a folder. Name a file with -o.")
        exists = output.exists()
    if exists and not overwrite:
        raise UserError(f"{output}: exists already. Name another output with -o, or replace it with --overwrite.")
    demand_writable([output])


def _default_output(asset: Path, name: str, is_folder: bool) -> Path:
    """Return a path beside the asset: `NAME-ply` for a folder, `NAME.mp4` for a file."""
    whole = asset.resolve() if asset.name in ("", "..") else asset
    stem = whole.name if whole.is_dir() else whole.stem
    return whole.parent / (f"{stem}-{name}" if is_folder else f"{stem}{FORMATS[name].suffixes[0]}")


def _file(asset: Path) -> Path:
    return asset / ASSET_NAME if asset.is_dir() else asset
