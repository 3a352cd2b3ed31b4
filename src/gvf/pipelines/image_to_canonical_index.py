"""Settings of the pipeline from an image to canonical Gaussians: our own index, and the files of the TRELLIS release."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gvf.config.flow_sampling import FlowSamplingConfig
from gvf.diffusion.flow_euler import FlowSettings
from gvf.errors import UserError
from gvf.models.network_folder import read_small_json
from gvf.pipelines.generator_index import Encoder, Moments, Training
from gvf.storage.files import PathLike, write_json
from gvf.text import clean

INDEX_NAME = "image_to_canonical.json"
RELEASE_INDEX = "pipeline.json"  # of TRELLIS

# Of the latents that the published flow models; D_GS takes them unnormalised.
SLAT_MEAN = (
    *(-2.1687545776367188, -0.004347046371549368, -0.13352349400520325, -0.08418072760105133),
    *(-0.5271206498146057, 0.7238689064979553, -1.1414450407028198, 1.2039363384246826),
)
SLAT_STD = (
    *(2.377650737762451, 2.386378288269043, 2.124418020248413, 2.1748552322387695),
    *(2.663944721221924, 2.371192216873169, 2.6217446327209473, 2.684523105621338),
)
SLAT_MOMENTS = Moments(mean=SLAT_MEAN, std=SLAT_STD)

_Steps = Annotated[int, Field(ge=1, le=10_000)]
_Guidance = Annotated[float, Field(ge=0.0, le=100.0)]
_Time = Annotated[float, Field(ge=0.0, le=1.0)]
_Rescale = Annotated[float, Field(gt=0.0, le=1000.0)]


class _Own(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class FlowSampling(_Own):
    """Steps and guidance of one of the two flows; see `FlowSettings`. The defaults are the published ones."""

    num_steps: _Steps = 25
    guidance: _Guidance = 5.0
    guided_from: _Time = 0.5
    guided_to: _Time = 1.0
    rescale: _Rescale = 3.0

    @classmethod
    def of(cls, config: FlowSamplingConfig) -> FlowSampling:
        """Return the settings of a field of the section `sample`."""
        return cls(**asdict(config))

    def settings(self) -> FlowSettings:
        """Return the settings for the sampler."""
        return FlowSettings(**self.model_dump())


class ImageToCanonicalIndex(_Own):
    """Everything in `image_to_canonical.json`; the defaults are those of TRELLIS.

    slat: mean and deviation of the structured latents, per channel. orientation: axes of the objects; `view` means that the
    image's camera is at azimuth 0, `object` that it may be anywhere. image_encoder: of the crops; None for DINOv2 as in TRELLIS.
    map_size: side of the encoder's maps for pixel-aligned conditions, None where there are none. training: what the networks
    were trained on, of one frame each; None where it is not known.
    """

    format: Literal["gvf-image-to-canonical"] = "gvf-image-to-canonical"
    version: Literal[1] = 1
    structure: FlowSampling = FlowSampling()
    latents: FlowSampling = FlowSampling()
    slat: Moments = SLAT_MOMENTS
    orientation: Literal["view", "object"] = "object"
    image_encoder: Encoder | None = None
    map_size: Annotated[int, Field(ge=2, le=256)] | None = None
    training: Training | None = None


class _Released(BaseModel):
    """A part of a file of the release; entries that are not needed here are skipped."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class _Parameters(_Released):
    steps: _Steps
    cfg_strength: _Guidance
    cfg_interval: tuple[_Time, _Time]
    rescale_t: _Rescale


class _Sampler(_Released):
    params: _Parameters

    def sampling(self) -> FlowSampling:
        values = self.params
        return FlowSampling(
            num_steps=values.steps,
            guidance=values.cfg_strength,
            guided_from=values.cfg_interval[0],
            guided_to=values.cfg_interval[1],
            rescale=values.rescale_t,
        )


class _Pipeline(_Released):
    sparse_structure_sampler: _Sampler
    slat_sampler: _Sampler
    slat_normalization: Moments


class _PipelineFile(_Released):
    name: Literal["TrellisImageTo3DPipeline"]
    args: _Pipeline


class _Representation(_Released):
    lr: dict[str, float]
    voxel_size: float
    scaling_bias: float
    opacity_bias: float
    filter_3d: Annotated[float, Field(alias="3d_filter_kernel_size")]
    scaling_activation: Literal["softplus"]

    @model_validator(mode="after")
    def _scales_rotations_alone(self) -> _Representation:
        if "_rotation" not in self.lr or any(value != 1.0 for name, value in self.lr.items() if name != "_rotation"):
            raise ValueError("scales other attributes than rotations (`lr`), which this version of gvf does not")
        return self


class _Decoder(_Released):
    resolution: int
    num_heads: int
    window_size: int
    representation_config: _Representation


class _DecoderFile(_Released):
    name: Literal["SLatGaussianDecoder"]
    args: _Decoder


_Model = TypeVar("_Model", bound=BaseModel)


def write_index(folder: PathLike, index: ImageToCanonicalIndex) -> None:
    """Write `image_to_canonical.json` into a folder."""
    write_json(Path(folder) / INDEX_NAME, index.model_dump(mode="json"))


def read_index(path: Path) -> ImageToCanonicalIndex:
    """Return the settings in our own index. Raises UserError that names what is wrong with the file."""
    return _validated(path, ImageToCanonicalIndex)


def read_released_index(path: Path) -> ImageToCanonicalIndex:
    """Return the settings in the `pipeline.json` of a TRELLIS release. Raises UserError as `read_index` does."""
    args = _validated(path, _PipelineFile).args
    return ImageToCanonicalIndex(
        structure=args.sparse_structure_sampler.sampling(),
        latents=args.slat_sampler.sampling(),
        slat=args.slat_normalization,
    )


def read_decoder_sizes(path: Path) -> dict[str, Any]:
    """Return what the tensors of D_GS do not show, from the JSON beside its released file. Raises UserError likewise."""
    args = _validated(path, _DecoderFile).args
    representation = args.representation_config
    return {
        "resolution": args.resolution,
        "num_heads": args.num_heads,
        "window": args.window_size,
        "offset_range": representation.voxel_size,
        "rotation_rate": representation.lr["_rotation"],
        "scale_bias": representation.scaling_bias,
        "opacity_bias": representation.opacity_bias,
        "filter_3d": representation.filter_3d,
    }


def _validated(path: Path, model: type[_Model]) -> _Model:
    content = read_small_json(path)
    try:
        return model.model_validate_json(json.dumps(content))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = clean(".".join(str(part) for part in problem["loc"]), 80)
        message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
        raise UserError(
            f"{path}: {where or 'the file'}: {message[:1].lower()}{message[1:]}. Fetch the file again."
        ) from None
