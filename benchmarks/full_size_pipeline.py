"""Run the published sizes end to end on this machine: image, canonical Gaussians, variation field. Random weights.

The weights are written once, in the formats of the releases and in one folder (GVFDiffusion, TRELLIS, DINOv2; 6 GB), checked by
`gvf models check`, and loaded and used as `gvf generate --model` does. What they make is noise; seconds and memory are those of
the real ones. What memory is needed is said before the motion starts; a part that does not fit ends it.

    python benchmarks/full_size_pipeline.py [--device cuda] [--weights DIR] [--frames 8] [--steps 2] [--threads 2]
        [--only check image motion] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.models.image_to_3d.ss_decoder import SsDecoder
from gvf.models.layers.precision import set_block_dtype
from gvf.pipelines.canonical_image import ImageSettings, object_of_image
from gvf.pipelines.model_check import check_models
from gvf.pipelines.motion import MotionSettings, demand_memory, generate_motion
from gvf.pipelines.motion_generator import MotionGenerator
from gvf.pipelines.motion_memory import MotionLoad, estimate_memory
from gvf.progress import Progress, Stopwatch
from gvf.storage import published_files
from gvf.storage.files import load_tensors, save_tensors, write_json
from gvf.weights.published import build_published, save_published

GENERATOR = {
    "static-vae": published_files.STATIC_VAE,
    "variation-vae": published_files.VARIATION_VAE,
    "dit": published_files.DIT,
}
TRELLIS = {
    "ss-flow": published_files.SS_FLOW,
    "ss-decoder": published_files.SS_DECODER,
    "slat-flow": published_files.SLAT_FLOW,
    "slat-gs-decoder": published_files.SLAT_GS_DECODER,
}
CANONICAL = "canonical.safetensors"
OCCUPIED = 4_000  # of 64^3 voxels; scattered, they have as many coarse voxels as 10,000 on a surface
STD = 0.02
Value = TypeVar("Value")


def write_weights(folder: Path) -> None:
    """Write random weights under the names and in the formats of the releases, what is there already excepted."""
    for files in (GENERATOR, TRELLIS):
        for kind, file in files.items():
            path = folder / file.places[0]
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                save_published(random_network(kind), path, kind)
    for file, count in zip(published_files.STATISTICS, (14, 14, 16, 16)):
        torch.save(torch.rand(1, count) + 0.5, folder / file.places[0])
    encoder = folder / published_files.DINOV2.repository.split("/")[1]
    if not (encoder / "model.safetensors").is_file():
        from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

        sizes = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
        config = Dinov2WithRegistersConfig(**sizes, image_size=518, patch_size=14, num_register_tokens=4)
        Dinov2WithRegistersModel(config).save_pretrained(encoder)


def random_network(kind: str) -> nn.Module:
    """Return a network of the published size with small random weights."""
    torch.manual_seed(0)
    with torch.device("meta"):
        network = build_published(kind)
    network = network.to_empty(device="cpu").eval().requires_grad_(False)
    for tensor in network.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape) * STD)
    if isinstance(network, SsDecoder):
        last = network.out_layer[2]
        logits = set_block_dtype(network, torch.float32)(torch.randn(1, 8, 16, 16, 16)).flatten()
        assert isinstance(last, nn.Conv3d)
        assert last.bias is not None
        last.bias.sub_(logits.sort(descending=True).values[OCCUPIED])
        set_block_dtype(network, torch.float16)
    return network


class Steps:
    """Measures steps: seconds, processor seconds, by how much the process grew at most, and the GPU's memory at most."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.rows: dict[str, dict[str, float]] = {}

    def run(self, name: str, function: Callable[[], Value]) -> Value:
        """Call a function as one step."""
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        if self.device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        before, start, processor = memory("VmRSS"), time.perf_counter(), time.process_time()
        result = function()
        if self.device == "cuda":
            torch.cuda.synchronize()
        row = {
            "seconds": time.perf_counter() - start,
            "processor_seconds": time.process_time() - processor,
            "growth_gib": (memory("VmHWM") - before) / 2**30,
            "peak_gib": memory("VmHWM") / 2**30,
        }
        if self.device == "cuda":
            row["gpu_peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        self.rows[name] = row
        print(f"{name:<28}" + "  ".join(f"{key} {value:.2f}" for key, value in row.items()), flush=True)
        return result


def memory(name: str) -> int:
    """Return a value of this process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def picture() -> Tensor:
    """Return an image [518, 518, 4] of a box."""
    image = torch.zeros(518, 518, 4, dtype=torch.uint8)
    image[100:400, 150:350] = torch.tensor([180, 90, 40, 255], dtype=torch.uint8)
    return image


def run_check(weights: Path, options: argparse.Namespace, steps: Steps) -> dict[str, Any]:
    """Check the folder; random weights are what the releases are, but for the files whose digest is known."""
    found = steps.run("gvf models check", lambda: check_models(weights))
    for part in found.parts:
        print(f"  {part.state:<8} {part.name}: {part.detail}")
    return {"damaged": [part.name for part in found.parts if part.state != "ok"]}


def load_generator(weights: Path, steps: Steps) -> MotionGenerator:
    """Load the networks of GVFDiffusion onto the device of the steps."""
    return steps.run(
        "load GVFDiffusion",
        lambda: MotionGenerator.from_pretrained(weights, local_files_only=True, device=steps.device),
    )


def run_image(weights: Path, options: argparse.Namespace, steps: Steps) -> dict[str, Any]:
    """Make canonical Gaussians of an image and keep them beside the weights."""
    generator, settings = load_generator(weights, steps), ImageSettings(steps=options.steps)
    for name in ("image to canonical Gaussians, first", "image to canonical Gaussians"):
        watch = Stopwatch(Progress())
        canonical = steps.run(name, lambda: object_of_image(picture().numpy(), generator, settings, watch).gaussians)  # noqa: B023
        print("  " + ", ".join(f"{step} {seconds:.2f} s" for step, seconds in watch.seconds.items()), flush=True)
    assert canonical.means.isfinite().all()
    save_tensors(weights / CANONICAL, {"values": canonical.to_activated14().contiguous()})
    return {"gaussians": canonical.num_gaussians}


def run_motion(weights: Path, options: argparse.Namespace, steps: Steps) -> dict[str, Any]:
    """Generate a motion of the canonical Gaussians."""
    canonical = Gaussians.from_activated14(load_tensors(weights / CANONICAL)["values"].to(steps.device))
    generator = load_generator(weights, steps)
    assert generator.encoder.num_tokens == 1370
    settings = MotionSettings(sampling={"solver": "multistep", "steps": options.steps}, segment_frames=options.frames)
    estimate = estimate_memory(generator, MotionLoad(options.frames, options.frames, canonical.num_gaussians))
    needed = (estimate.working + estimate.result) / 2**30
    print(f"variation field: needs about {needed:.2f} GiB besides weights", flush=True)
    demand_memory(generator, options.frames, canonical.num_gaussians, settings)
    frames = torch.stack([picture().roll(4 * index, 1) for index in range(options.frames)])
    camera = OrbitCamera(0.0, 0.0, 2.0, 49.1)
    motion = steps.run("variation field", lambda: generate_motion(generator, frames, canonical, camera, settings))
    assert motion.gaussians.means.isfinite().all()
    return {"estimate_gib": needed, "network_calls": motion.nfe}


PARTS = {"check": run_check, "image": run_image, "motion": run_motion}


def run_apart(part: str, weights: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run one part in a process of its own, so that its growth is its own, and return what it measured."""
    report = weights / f"{part}.json"
    sizes = [
        "--frames",
        str(options.frames),
        "--steps",
        str(options.steps),
        "--threads",
        str(options.threads),
        "--device",
        options.device,
    ]
    command = [sys.executable, __file__, "--part", part, "--weights", str(weights), "--output", str(report), *sizes]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    subprocess.run(command, env=environment, check=True)
    return json.loads(report.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path, help="folder of the random weights; a temporary one by default")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.part:
        steps = Steps(options.device)
        found = PARTS[options.part](options.weights, options, steps)
        write_json(options.output, found | {"parts": steps.rows})
        return
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights or Path(folder)
        write_weights(weights)
        report = {part: run_apart(part, weights, options) for part in options.only}
    if options.output:
        write_json(options.output, {"frames": options.frames, "steps": options.steps, **report})


if __name__ == "__main__":
    main()
