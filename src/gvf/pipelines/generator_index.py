"""`generator.json`: what inference needs to know of a generator besides its networks.

The file may come from anywhere. Every field is required, unknown ones are refused, and so is a generator that was made
with another image preprocessing or rendering convention than this version of gvf has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from gvf.config.featurize import FeaturizeConfig
from gvf.config.messages import problems
from gvf.config.render import RenderConfig
from gvf.data.latents import LatentStatistics
from gvf.errors import ConfigError, UserError
from gvf.models.encoders.preprocessing import PREPROCESSING
from gvf.models.network_folder import read_small_json
from gvf.pipelines.training_credits import MAX_CREDITS, Credit
from gvf.rendering.convention import COMPENSATE, LOW_PASS, WHITE
from gvf.storage.files import PathLike, write_json
from gvf.text import clean

INDEX_NAME = "generator.json"
STATIC_CHANNELS = ("means", "colors", "opacity", "scales", "quats")
VARIATION_CHANNELS = ("means", "scales", "quats", "colors", "opacity")

# `owner/name` of the model hub.
HUB_NAME = r"[A-Za-z0-9][\w-]*(?:\.[\w-]+)*/[A-Za-z0-9][\w-]*(?:\.[\w-]+)*"
_Number = Annotated[float, Field(ge=-1e6, le=1e6)]
_Deviation = Annotated[float, Field(gt=0.0, le=1e6)]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Moments(_Facts):
    """Mean and standard deviation per channel."""

    mean: Annotated[tuple[_Number, ...], Field(min_length=1, max_length=4096)]
    std: Annotated[tuple[_Deviation, ...], Field(min_length=1, max_length=4096)]

    @model_validator(mode="after")
    def _have_the_same_length(self) -> Moments:
        if len(self.mean) != len(self.std):
            raise ValueError(f"has {len(self.mean)} means but {len(self.std)} deviations")
        return self


class Diffusion(_Facts):
    """What the diffusion transformer was trained to predict, and under which noise schedule."""

    schedule: Literal["cosine"]
    num_steps: Annotated[int, Field(ge=2, le=100_000)]
    prediction: Literal["velocity"]


class Sampling(_Facts):
    """Settings of the solver and of classifier-free guidance; the defaults are the paper's.

    solver: `adaptive` (DPM-Solver of order 2, with the four settings after `steps`) or `multistep` with `steps` steps.
    video_guidance, static_guidance: scales; 1 for none. refinement_steps: of the optimisation that fits a generated motion to
    the video; 0 for none.
    """

    solver: Literal["adaptive", "multistep"] = "adaptive"
    steps: Annotated[int, Field(ge=1, le=10_000)] = 20
    absolute_tolerance: Annotated[float, Field(gt=0.0, le=1e3)] = 0.0078
    relative_tolerance: Annotated[float, Field(gt=0.0, le=1e3)] = 0.05
    first_step: Annotated[float, Field(gt=0.0, le=10.0)] = 0.05
    safety: Annotated[float, Field(ge=0.01, le=1.0)] = 0.9
    video_guidance: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    static_guidance: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    refinement_steps: Annotated[int, Field(ge=0, le=10_000)] = 0

    @classmethod
    def of(cls, config: Any) -> Sampling:
        """Return the settings in a config with these fields and others, such as the section `sample`."""
        return cls(**{name: getattr(config, name) for name in cls.model_fields})

    def with_changes(self, settings: dict[str, Any]) -> Sampling:
        """Return these settings with some of them changed. Raises ConfigError that names every wrong one."""
        try:
            return Sampling(**{**self.model_dump(), **settings})
        except ValidationError as error:
            (key, message), *more = problems(error, Sampling, "")
            raise ConfigError(key, message, "sampling settings", tuple(more)) from None


class Preprocessing(_Facts):
    """How images are prepared: see `gvf.models.encoders.preprocessing`.

    size: pixels per side at which the encoder sees frames: its own size, or that of the training frames if it has none.
    """

    size: Annotated[int, Field(ge=16, le=4096)]
    central_share: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Encoder(_Facts):
    """The image encoder. weights: name on the model hub; None for the default weights, or ones from a local folder.

    weights_sha256: of the file of weights that was on the training machine; None if they come with a package or are not
    recorded. token_grid: tokens along each side of a frame; None where the encoder decides.
    """

    name: Literal["efficientnet_lite0", "dinov2"]
    weights: Annotated[str, Field(pattern=f"^{HUB_NAME}$", max_length=200)] | None
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    token_grid: Annotated[int, Field(ge=1, le=64)] | None
    preprocessing: Preprocessing

    @model_validator(mode="after")
    def _has_this_versions_preprocessing(self) -> Encoder:
        if self.preprocessing != _preprocessing(self.name, self.preprocessing.size):
            raise ValueError(f"was trained with other preprocessing than this version of gvf has for {self.name}")
        if self.resizes_frames and self.preprocessing.size % 16:
            raise ValueError(f"has an image size of {self.preprocessing.size}, which must be a multiple of 16")
        return self

    @property
    def resizes_frames(self) -> bool:
        """Return whether frames must have the training size before they are encoded, since the encoder keeps any size."""
        return PREPROCESSING[self.name].size is None


class Voxels(_Facts):
    """The grid of image features on a mesh, the input of E_GS. weighting: of views; see `featurize.voxel_weighting`."""

    resolution: Annotated[int, Field(ge=2, le=256)]
    feature_channels: Annotated[int, Field(ge=1, le=1 << 16)]
    weighting: Literal["uniform", "visible"]


class CanonicalViews(_Facts):
    """The views of a mesh that its image features come from, spread evenly over the sphere.

    count: number of views. size: pixels per side. samples: along each side of a pixel. radius: object units. fov: degrees.
    """

    count: Annotated[int, Field(ge=1, le=10_000)]
    size: Annotated[int, Field(ge=16, le=4096)]
    samples: Annotated[int, Field(ge=1, le=16)]
    radius: Annotated[float, Field(ge=1.0, le=100.0)]
    fov: Annotated[float, Field(ge=1.0, le=120.0)]

    @classmethod
    def of(cls, render: RenderConfig) -> CanonicalViews:
        """Return the views that the section `render` describes."""
        return cls(
            count=render.canonical_views,
            size=render.image_size,
            samples=render.samples,
            radius=render.radius,
            fov=render.view_fov,
        )


RELEASED_VIEWS = CanonicalViews(count=150, size=512, samples=3, radius=2.0, fov=40.0)
"""The views of the paper's release."""


class Rendering(_Facts):
    """The convention under which the Gaussians look as trained: see `gvf.rendering.convention`."""

    low_pass: float = LOW_PASS
    compensate: bool = COMPENSATE
    background: float = WHITE

    @model_validator(mode="after")
    def _is_this_versions(self) -> Rendering:
        if (self.low_pass, self.compensate, self.background) != (LOW_PASS, COMPENSATE, WHITE):
            raise ValueError("differs from the rendering convention of this version of gvf")
        return self


class Channels(_Facts):
    """The order of channels in the Gaussians given to the networks, and in the variations that they return."""

    static: tuple[str, ...] = STATIC_CHANNELS
    variation: tuple[str, ...] = VARIATION_CHANNELS

    @model_validator(mode="after")
    def _are_this_versions(self) -> Channels:
        if (self.static, self.variation) != (STATIC_CHANNELS, VARIATION_CHANNELS):
            raise ValueError("differ from the channel orders of this version of gvf")
        return self


class Training(_Facts):
    """What the generator was trained on, recorded by the training; None where it is not known.

    frames: T of the training clips; other lengths can be generated. clips: their number, with the variants of clips, of which
    there are `variants`. preset: name of the parameters. source: kind of the training assets. credits: whose they are.
    """

    frames: Annotated[int, Field(ge=1, le=100_000)]
    clips: Annotated[int, Field(ge=1)] | None = None
    variants: Annotated[int, Field(ge=0)] | None = None
    preset: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    source: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    credits: Annotated[tuple[Credit, ...], Field(max_length=MAX_CREDITS)] = ()


class GeneratorIndex(_Facts):
    """Everything in `generator.json`.

    title: of the model card. training: what the generator was trained on. latents, static, aligned: statistics that normalise the
    latents, the activated Gaussians that condition the transformer, and the image features at the latents, None where it does not
    see them. commit: of the code in the checkout that exported
    the generator, followed by + if files had been changed; None if it is not known. metrics: values on held-out clips, as
    far as they are known. canonical_views: None in folders written before this was recorded; see `views`.
    """

    format: Literal["gvf-generator"]
    version: Literal[1]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    training: Training
    latents: Moments
    static: Moments
    aligned: Moments | None = None
    diffusion: Diffusion
    sampling: Sampling
    image_encoder: Encoder
    voxels: Voxels
    canonical_views: CanonicalViews | None = None
    rendering: Rendering
    channels: Channels
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,40}\+?$")] | None
    metrics: Annotated[dict[Annotated[str, Field(max_length=100)], float], Field(max_length=200)]

    @property
    def statistics(self) -> LatentStatistics:
        """Return the statistics as float32 tensors."""
        moments = [self.latents, self.static] if self.aligned is None else [self.latents, self.static, self.aligned]
        values = (value for one in moments for value in (one.mean, one.std))
        return LatentStatistics(*(torch.tensor(value, dtype=torch.float32) for value in values))

    @property
    def views(self) -> CanonicalViews:
        """Return the views of a mesh that its features are taken from; where they are not recorded, those of the preset `cpu`.

        Their size is then that of the training frames, which is recorded wherever features depend on it.
        """
        unknown = CanonicalViews(
            count=12, size=self.image_encoder.preprocessing.size, samples=2, radius=RELEASED_VIEWS.radius, fov=40.0
        )
        return self.canonical_views or unknown

    def featurize_config(self, batch_size: int = 16) -> FeaturizeConfig:
        """Return the settings with which images are encoded for this generator. batch_size: images encoded at once."""
        encoder, voxels = self.image_encoder, self.voxels
        return FeaturizeConfig(
            encoder.name, encoder.weights, encoder.token_grid, voxels.resolution, voxels.weighting, batch_size
        )


def build_index(
    title: str,
    training: Training,
    statistics: LatentStatistics,
    num_diffusion_steps: int,
    featurize: FeaturizeConfig,
    feature_channels: int,
    views: CanonicalViews,
    encoder_sha256: str | None = None,
    sampling: Sampling | None = None,
) -> GeneratorIndex:
    """Return the index of a generator trained with these settings; statistics are stored without loss.

    feature_channels: channels of the image features on a voxel. views: of training meshes; training frames have their size.
    encoder_sha256: of the file of the image encoder's weights. Weights from a local folder have no name elsewhere, so the
    digest alone identifies them.
    """
    return GeneratorIndex(
        format="gvf-generator",
        version=1,
        title=title,
        training=training,
        latents=_moments(statistics.latent_mean, statistics.latent_std),
        static=_moments(statistics.static_mean, statistics.static_std),
        aligned=_moments(statistics.aligned_mean, statistics.aligned_std) if len(statistics.aligned_mean) else None,
        diffusion=Diffusion(schedule="cosine", num_steps=num_diffusion_steps, prediction="velocity"),
        sampling=sampling or Sampling(),
        image_encoder=encoder_facts(featurize, views.size, encoder_sha256),
        voxels=Voxels(
            resolution=featurize.voxel_resolution,
            feature_channels=feature_channels,
            weighting=featurize.voxel_weighting,
        ),
        canonical_views=views,
        rendering=Rendering(),
        channels=Channels(),
        commit=None,
        metrics={},
    )


def encoder_facts(featurize: FeaturizeConfig, image_size: int, sha256: str | None) -> Encoder:
    """Return what an index records of the image encoder. image_size, sha256: as in `build_index`'s views and digest."""
    name = featurize.weights
    is_public = name is not None and re.fullmatch(HUB_NAME, name) is not None and not Path(name).exists()
    return Encoder(
        name=featurize.encoder,
        weights=name if is_public else None,
        weights_sha256=sha256,
        token_grid=featurize.token_grid,
        preprocessing=_preprocessing(featurize.encoder, image_size),
    )


def _moments(mean: Tensor, std: Tensor) -> Moments:
    return Moments(mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def write_index(folder: PathLike, index: GeneratorIndex) -> None:
    """Write `generator.json` into a folder."""
    write_json(Path(folder) / INDEX_NAME, index.model_dump(mode="json"))


def read_index(folder: PathLike) -> GeneratorIndex:
    """Return the content of a folder's `generator.json`. Raises UserError that names what is wrong with it."""
    path = Path(folder) / INDEX_NAME
    content = read_small_json(path)
    if not isinstance(content, dict) or content.get("format") != "gvf-generator":
        raise UserError(f"{path}: does not describe a generator of gvf. Copy the whole folder that gvf wrote.")
    if content.get("version") != 1:
        raise UserError(f"{path}: has version {clean(str(content.get('version')), 40)}, this gvf reads 1. Update gvf.")
    try:
        return GeneratorIndex.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise UserError(f"{path}: {'; '.join(_problems(error))}.") from None


def _preprocessing(encoder: str, image_size: int) -> Preprocessing:
    """Return an encoder's preprocessing. image_size: of frames, if the encoder has no size of its own."""
    facts = PREPROCESSING[encoder]
    return Preprocessing(**facts._replace(size=facts.size or image_size)._asdict())


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_input=False)[:3]:
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
        yield f"{clean(where, 80)} {message[:1].lower()}{message[1:]}"
