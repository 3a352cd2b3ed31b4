"""Print what motions of several sizes are estimated to take, and what this process really took: run it by itself."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from gvf.gaussians.gaussians import Gaussians
from gvf.models.variation.dit import VariationDiT
from gvf.models.variation.joint_vae import JointVAE
from gvf.pipelines.generator_index import Sampling
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.pipelines.motion_memory import MotionLoad, estimate_memory
from tests.pipelines.small_generator import DIT, FAST, IMAGE_SIZE, STATIC, VARIATION, small_generator


def wide_generator() -> MotionGenerator:
    """Return a generator whose activations outweigh everything else in a process."""
    small = small_generator()
    sizes = {"width": 192, "num_layers": 3, "num_heads": 6}
    vae = JointVAE(STATIC, replace(VARIATION, num_latents=192, **sizes))
    dit = VariationDiT(replace(DIT, num_static=512, **sizes), VARIATION.latent_channels)
    return MotionGenerator(small.index, vae, dit)


def status(name: str) -> int:
    """Return a value of this process's memory in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def growth(generator: MotionGenerator, load: MotionLoad, sampling: Sampling) -> int:
    """Return by how much this process grew at most while it generated a motion."""
    values = torch.rand(load.num_gaussians, 14) - 0.5
    canonical = Gaussians.from_activated14(values)
    frames = torch.zeros(load.segment_frames, IMAGE_SIZE, IMAGE_SIZE, 4, dtype=torch.uint8)
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = status("VmRSS")
    motion = generator.motion(frames, canonical, **sampling.model_dump())
    varied = motion.gaussians.map(torch.clone)  # the best candidate so far
    assert varied.means.isfinite().all()
    return status("VmHWM") - before


def main() -> None:
    generator = wide_generator()
    rows = []
    for frames, count, steps in ((2, 50, 1), *(tuple(map(int, size.split("x"))) for size in sys.argv[1:])):
        load, sampling = MotionLoad(frames, frames, count), FAST.with_changes({"refinement_steps": steps})
        estimate = estimate_memory(generator, load, sampling)
        rows.append({"estimated": estimate.working, "measured": growth(generator, load, sampling)})
    print(json.dumps(rows[1:]))


if __name__ == "__main__":
    main()
