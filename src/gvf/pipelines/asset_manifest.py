"""`manifest.json` of an asset: how it was made, where its camera was, and what other tools need to know.

The file may come from anywhere: unknown fields are refused, and every number is checked.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gvf import __version__
from gvf.config.messages import problems
from gvf.errors import ConfigError, UserError
from gvf.geometry.camera import OrbitCamera
from gvf.geometry.similarity import Similarity
from gvf.models.network_folder import read_small_json
from gvf.pipelines.asset_files import MANIFEST_NAME
from gvf.rendering.convention import COMPENSATE, LOW_PASS, WHITE
from gvf.storage.files import PathLike, write_json

_Text = Annotated[str, Field(max_length=500)]
_Coordinate = Annotated[float, Field(ge=-1e12, le=1e12)]
_Finite = Annotated[float, Field(ge=-1e9, le=1e9)]
_Setting = str | float | int | bool | None
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CameraFacts(_Facts):
    """The camera of the input video's square crop; see `gvf.geometry.camera.OrbitCamera`.

    Where each frame has its own crop, it is that of the first.
    """

    azimuth: _Finite
    elevation: Annotated[float, Field(ge=-90.0, le=90.0)]
    radius: Annotated[float, Field(gt=0.0, le=1e4)]
    fov: Annotated[float, Field(gt=0.0, lt=180.0)]
    shift: tuple[_Finite, _Finite] = (0.0, 0.0)

    @classmethod
    def of(cls, camera: OrbitCamera) -> CameraFacts:
        """Return the facts about a camera."""
        return cls(**vars(camera))

    def camera(self) -> OrbitCamera:
        """Return the camera."""
        return OrbitCamera(self.azimuth, self.elevation, self.radius, self.fov, self.shift)


class AlignmentFacts(_Facts):
    """Confidence of the alignment. confidence: in [0, 1]. rivals: azimuths, in degrees, that fit almost as well."""

    confidence: Annotated[float, Field(ge=0.0, le=1.0)]
    ambiguous: bool
    rivals: tuple[_Finite, ...] = ()


class SimilarityFacts(_Facts):
    """From the asset's axes (z up) to the file's; see `gvf.geometry.similarity.Similarity`."""

    scale: Annotated[float, Field(gt=0.0, le=1e12)]
    center: tuple[_Coordinate, _Coordinate, _Coordinate]
    up: Literal["y", "z", "-y"]

    def similarity(self) -> Similarity:
        """Return the map from asset to file."""
        return Similarity(self.scale, self.center, self.up)


class CanonicalFacts(_Facts):
    """Where the canonical Gaussians come from. file: name only. clip: animation whose first frame was taken, if any."""

    origin: Literal["mesh", "gaussians", "image"]
    file: _Text | None = None
    sha256: _Digest | None = None
    clip: _Text | None = None
    to_file: SimilarityFacts | None = None


class FindingFacts(_Facts):
    """One remark of the input check. frames: indices of the frames concerned; empty where it concerns the whole video."""

    code: _Text
    message: Annotated[str, Field(max_length=2000)]
    frames: tuple[Annotated[int, Field(ge=0)], ...] = ()


class VideoFacts(_Facts):
    """The input video. crops: left, top and side in source pixels, one per frame or a single one for all."""

    name: _Text
    size: tuple[int, int]
    matting: _Text
    crops: tuple[tuple[_Finite, _Finite, _Finite], ...]
    findings: tuple[FindingFacts, ...] = ()


class CandidateFacts(_Facts):
    """One generated motion of one segment, and how its renders fit the input; see `gvf.pipelines.candidate_fit.Fit`."""

    segment: int
    seed: int
    color_error: _Finite
    iou: _Finite
    chosen: bool


class RefinementFacts(_Facts):
    """How the renders of one segment fit the input after the refinement. The segment's chosen candidate has the fit before."""

    segment: int
    color_error: _Finite
    iou: _Finite


class MotionFacts(_Facts):
    """How the motion was generated.

    segments: frames [start, stop) of each, which may overlap. refinements: of the segments, where they were refined.
    network_calls: of the diffusion transformer.
    """

    seed: int
    sampling: dict[str, float | int | str]
    segments: tuple[tuple[int, int], ...]
    candidates: tuple[CandidateFacts, ...] = ()
    refinements: tuple[RefinementFacts, ...] = ()
    network_calls: int


class GeneratorFacts(_Facts):
    """The weights: their name, the name of their folder, digest and licence."""

    name: _Text
    folder: _Text | None = None
    sha256: _Digest | None
    licence: _Text


class RenderingFacts(_Facts):
    """The convention under which the Gaussians look as trained; see `gvf.rendering.convention`."""

    low_pass: Annotated[float, Field(ge=0.0, le=100.0)] = LOW_PASS
    compensate: bool = COMPENSATE
    background: Annotated[float, Field(ge=0.0, le=1.0)] = WHITE


class Manifest(_Facts):
    """Everything that is known about an asset besides its Gaussians.

    settings: what the user chose, by part. seconds: per step, wall-clock.
    """

    format: Literal[1] = 1
    created: _Text
    num_frames: Annotated[int, Field(ge=1)]
    num_gaussians: Annotated[int, Field(ge=1)]
    frames_per_second: Annotated[float, Field(gt=0.0, le=1000.0)]
    times: tuple[_Finite, ...]
    camera: CameraFacts
    alignment: AlignmentFacts | None = None
    video: VideoFacts
    canonical: CanonicalFacts
    motion: MotionFacts
    rendering: RenderingFacts = RenderingFacts()
    generator: GeneratorFacts
    settings: dict[str, dict[str, _Setting]] = {}
    device: _Text
    versions: dict[str, _Text]
    seconds: dict[str, float] = {}
    warnings: tuple[Annotated[str, Field(max_length=2000)], ...] = ()

    def with_seconds(self, seconds: Mapping[str, float]) -> Manifest:
        """Return the manifest with the seconds of further steps."""
        rounded = {name: round(value, 3) for name, value in seconds.items()}
        return self.model_copy(update={"seconds": {**self.seconds, **rounded}})

    def save(self, folder: PathLike) -> None:
        """Write `manifest.json` into a folder."""
        write_json(Path(folder) / MANIFEST_NAME, self.model_dump(mode="json"))


def read_manifest(folder: PathLike) -> Manifest:
    """Read the manifest of an asset's folder. Raises UserError, or ConfigError that names every wrong field."""
    path = Path(folder) / MANIFEST_NAME
    if not path.is_file():
        raise UserError(f"{path}: there is no such file. Name a folder that gvf generate or gvf animate wrote.")
    try:
        return Manifest.model_validate(read_small_json(path))
    except ValidationError as error:
        (key, message), *more = problems(error, Manifest, "")
        raise ConfigError(key, message, str(path), tuple(more)) from None


def now() -> str:
    """Return the time in UTC, to the second, in ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Return the versions of what results depend on."""
    return {"gvf": __version__, "python": platform.python_version(), "torch": torch.__version__}


def as_facts(manifest: Manifest) -> dict[str, Any]:
    """Return what a lone `asset.glb` and the page show of a manifest."""
    whole = json.loads(manifest.model_dump_json())
    return {key: whole[key] for key in ("camera", "canonical", "rendering", "generator", "created")}
