"""Estimate the memory that generating a motion takes, before it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn

from gvf.errors import UserError
from gvf.execution.free_memory import free_bytes
from gvf.gaussians.gaussians import NUM_CHANNELS, Gaussians
from gvf.models.activation_memory import on_meta, peak_bytes
from gvf.models.encoders.dinov2 import DinoV2Encoder
from gvf.models.encoders.image_encoder import ImageEncoder
from gvf.models.variation.dit import VideoCondition
from gvf.pipelines.generator_index import Sampling
from gvf.pipelines.handles import Handles
from gvf.pipelines.motion_generator import FRAMES_AT_ONCE, MotionGenerator
from gvf.pipelines.motion_refinement import NUM_CONTROLS

_HEADROOM = 1.2  # free memory demanded, as a multiple of the estimate
_FLOAT_BYTES = 4
_COPIES_DRAWN, _COPIES_DECODED = (
    3,
    3,
)  # of moving Gaussians, and of attention between controls and latents, in a refinement


@dataclass(frozen=True)
class MotionLoad:
    """What is to be generated: num_frames in segments of at most segment_frames, of num_gaussians Gaussians each.

    at_once: candidates of a segment in one batch.
    """

    num_frames: int
    segment_frames: int
    num_gaussians: int
    at_once: int = 1


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on the generator's device. networks: their weights, which are there already. result: the moving Gaussians, always
    on the CPU. encoding, generating, refining: the most that is alive at once during these steps, weights and result not
    counted.
    """

    networks: int
    result: int
    encoding: int
    generating: int
    refining: int

    @property
    def working(self) -> int:
        """Return the bytes needed on the device besides weights and result."""
        return max(self.encoding, self.generating, self.refining)


def estimate_memory(generator: MotionGenerator, load: MotionLoad, sampling: Sampling | None = None) -> MemoryEstimate:
    """Return the memory that the generation of a motion takes. Nothing is allocated or computed.

    The generator's own code runs on the meta device, where tensors have sizes and lifetimes but no values. Raises UserError if the
    image encoder's weights are missing.
    """
    sampling = sampling or generator.index.sampling
    encoder = cast(nn.Module, generator.encoder)
    networks = [generator.vae, generator.dit, encoder]
    frame = load.num_gaussians * NUM_CHANNELS * _FLOAT_BYTES
    video = sum(part.nbytes for part in vars(_video(generator, load.segment_frames)).values() if part is not None)
    moving = load.segment_frames * frame  # one candidate: its field, or its varied Gaussians
    generation = peak_bytes(_generation(generator, load, sampling))
    encoding = peak_bytes(_encoding(generator, min(load.segment_frames, FRAMES_AT_ONCE)))
    return MemoryEstimate(
        networks=sum(tensor.nbytes for one in networks for tensor in (*one.parameters(), *one.buffers())),
        result=load.num_frames * frame,
        encoding=2 * video + encoding,
        generating=video + moving + max(generation, (load.at_once + 1) * moving),  # beside the best one so far
        refining=video + moving + _refinement(generator, load) if sampling.refinement_steps else 0,
    )


def batch_that_fits(generator: MotionGenerator, load: MotionLoad, candidates: int, sampling: Sampling) -> int:
    """Return how many candidates of a segment to generate at once: as many as fit into the free memory, at most `candidates`.

    Raises UserError that names a smaller setting when not even one fits.
    """
    free, host = free_bytes(generator.device), free_bytes(torch.device("cpu"))

    @cache
    def fits(changed: MotionLoad) -> bool:
        estimate = estimate_memory(generator, changed, sampling)
        on_device = _HEADROOM * estimate.working
        if generator.device.type == "cpu":
            return on_device + estimate.result <= free
        return on_device <= free and estimate.result <= host

    batch = _most(candidates, lambda count: fits(replace(load, at_once=count)))
    if batch:
        return batch
    alone = replace(load, at_once=1)
    estimate = estimate_memory(generator, alone, sampling)
    problem = (
        f"the motion: {load.num_frames} frames of {load.num_gaussians:,} Gaussians, in segments of {load.segment_frames}, need "
        f"about {_gib(_HEADROOM * estimate.working + estimate.result)} of memory, of which {_gib(estimate.result)} for the "
        f"result; {_gib(free)} are free."
    )
    if length := _most(load.segment_frames, lambda frames: fits(replace(alone, segment_frames=frames)), least=2):
        raise UserError(f"{problem} --segment-frames {length} fits.")
    shortest = replace(alone, segment_frames=2)
    if number := _most(load.num_frames, lambda frames: fits(replace(shortest, num_frames=frames)), least=2):
        raise UserError(f"{problem} --frames {number} --segment-frames 2 fits.")
    raise UserError(f"{problem} Not even 2 frames fit. Close other programs, or use a machine with more memory.")


def _most(largest: int, fits: Callable[[int], bool], least: int = 1) -> int:
    """Return the largest number from `least` to `largest` that fits, by bisection; 0 if there is none."""
    if largest < least or not fits(least):
        return 0
    if largest == least or fits(largest):
        return largest
    while largest - least > 1:
        middle = (least + largest) // 2
        least, largest = (middle, largest) if fits(middle) else (least, middle)
    return least


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


def _generation(generator: MotionGenerator, load: MotionLoad, sampling: Sampling) -> Callable[[], object]:
    """Return the generation of one batch of candidates on the meta device. One step of any solver holds as much as all."""
    meta = torch.device("meta")
    copy = MotionGenerator(generator.index, on_meta(generator.vae), on_meta(generator.dit), meta)
    latents, count, frames = copy.vae.variation.config, load.at_once, load.segment_frames
    handles = Handles(
        torch.empty(latents.num_latents, 3, device=meta),
        torch.empty(copy.dit.config.num_static, NUM_CHANNELS, device=meta),
    )
    video = _video(generator, frames)
    canonical = Gaussians.from_activated14(torch.empty(load.num_gaussians, NUM_CHANNELS, device=meta))
    noise = torch.empty(frames, latents.num_latents, latents.latent_channels, device=meta)
    steps = sampling.model_copy(update={"solver": "multistep", "steps": 1})
    return lambda: copy.generate_with([handles] * count, [video] * count, [canonical] * count, [noise] * count, steps)


def _refinement(generator: MotionGenerator, load: MotionLoad) -> int:
    """Return the bytes of one step of the refinement: what the rasteriser and the decoder keep for their gradients."""
    sizes, controls = generator.vae.variation.config, min(NUM_CONTROLS, load.num_gaussians)
    drawn = _COPIES_DRAWN * load.num_gaussians * NUM_CHANNELS
    decoded = _COPIES_DECODED * controls * sizes.num_heads * sizes.num_latents
    return load.segment_frames * (drawn + decoded) * _FLOAT_BYTES


def _video(generator: MotionGenerator, num_frames: int) -> VideoCondition:
    """Return what the transformer is given of some frames, on the meta device."""
    sees, encoder = generator.dit.config, generator.encoder

    def empty(count: int, channels: int) -> Tensor:
        return torch.empty(num_frames, count, channels, device="meta")

    return VideoCondition(
        empty(encoder.num_tokens, sees.image_channels) if sees.sees_tokens else None,
        empty(generator.vae.variation.config.num_latents, sees.aligned_channels) if sees.sees_aligned else None,
    )


def _encoding(generator: MotionGenerator, num_frames: int) -> Callable[[], object]:
    """Return the encoding of some frames on the meta device."""
    encoder: nn.Module = on_meta(cast(nn.Module, generator.encoder))
    if isinstance(encoder, DinoV2Encoder):
        size = encoder.network.config.image_size
        pixels = torch.empty(num_frames, 3, size, size, device="meta")
        return lambda: torch.cat(encoder.patches_and_class(pixels), dim=1)
    size = generator.index.image_encoder.preprocessing.size
    images = torch.empty(num_frames, size, size, 4, dtype=torch.uint8, device="meta")
    seeing = cast(ImageEncoder, encoder)
    if generator.dit.config.sees_aligned:  # more than the tokens, which are of the frames' central parts
        return lambda: seeing.maps(images)
    return lambda: seeing.tokens(images)
