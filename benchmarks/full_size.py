"""Measure seconds and peak memory of the published sizes on this machine's processor or GPU, with random weights, one clip.

Each case runs in a process of its own. On the processor its largest resident set is its peak memory (interpreter and torch
included), and blocks of TRELLIS's networks run in float32, which processors compute faster than float16; a case does not start
with less than 1.2 times its expected memory free. On a GPU the peak is that of torch's allocator, and the blocks stay float16.

    python benchmarks/full_size.py [--device cuda] [--threads 2] [--cases NAME ...] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from torch import nn

from gvf.models.image_to_3d.flow_transformer import ImageCondition
from gvf.models.layers.precision import BlockNetwork, set_block_dtype
from gvf.models.layers.voxel_batch import VoxelBatch
from gvf.models.variation.dit import Conditions, VariationDiT, VideoCondition
from gvf.pipelines.image_memory import IMAGE_TOKENS, sphere_voxels
from gvf.storage.files import write_json
from gvf.tracking.provenance import device_name
from gvf.weights.published import build_published

LIMIT = 20.0  # GiB
EXPECTED = {"vae_encode": 3.0, "vae_decode": 6.0, "dit_step": 6.0, "ss_flow_step": 6.0, "slat_flow_step": 6.0}  # GiB
FRAME_TOKENS, NUM_STATIC, NUM_LATENTS = 1370, 4096, 512


def build(kind: str) -> Any:
    """Return a full-size network with small random weights on torch's default device."""
    device = torch.get_default_device()
    with torch.device("meta"):
        network: nn.Module = build_published(kind)
    if isinstance(network, BlockNetwork) and device.type == "cpu":
        set_block_dtype(network, torch.float32)
    network = network.to_empty(device=device).eval().requires_grad_(False)
    for tensor in network.state_dict().values():
        tensor.normal_(std=0.02)
    return network


class Timing(NamedTuple):
    """seconds: of the fastest call. processor_seconds: the least, over all threads; other programs hardly change it."""

    seconds: float
    processor_seconds: float
    result: Any


def wait() -> None:
    """Return when the default device has finished."""
    if torch.get_default_device().type == "cuda":
        torch.cuda.synchronize()


def timed(function: Callable[[], Any], repeats: int = 2) -> Timing:
    """Call a function a few times and return its fastest times."""
    if torch.get_default_device().type == "cuda":
        repeats = 10 * repeats
    seconds, processor = [], []
    for _ in range(repeats):
        wait()
        start, start_processor = time.perf_counter(), time.process_time()
        result = function()
        wait()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return Timing(min(seconds), min(processor), result)


def vae_encode() -> dict[str, float]:
    """Run the encoder of the variation VAE: 8 frames of 8192 points."""
    vae = build("variation-vae")
    positions, points = torch.rand(1, NUM_LATENTS, 3) - 0.5, torch.rand(1, 8192, 3) - 0.5
    queries, displacements = 0.1 * torch.randn(1, 8, NUM_LATENTS, 3), 0.1 * torch.randn(1, 8, 8192, 3)
    encoding = timed(lambda: vae.encode(positions, queries, points, displacements))
    return {"seconds": encoding.seconds, "processor_seconds": encoding.processor_seconds}


def vae_decode() -> dict[str, float]:
    """Run the decoder of the variation VAE: 8 frames of 50,000 Gaussians."""
    vae = build("variation-vae")
    latents, gaussians = torch.randn(1, 8, NUM_LATENTS, 16), torch.rand(1, 50_000, 14)
    decoding = timed(lambda: vae.decode(latents, gaussians))
    return {"seconds": decoding.seconds, "processor_seconds": decoding.processor_seconds}


def dit_step() -> dict[str, float]:
    """Run one step of the diffusion transformer for 24 frames: with conditions projected beforehand, and without."""
    dit: VariationDiT = build("dit")
    noised, timesteps = torch.randn(1, 24, NUM_LATENTS, 16), torch.tensor([500.0])
    video = VideoCondition(torch.randn(1, 24, FRAME_TOKENS, 1024))
    static, positions = torch.randn(1, NUM_STATIC, 14), torch.rand(1, NUM_LATENTS, 3) - 0.5
    preparing = timed(lambda: dit.prepare_conditions(video, static, positions), repeats=1)
    conditions: Conditions = preparing.result
    cached = timed(lambda: dit.denoise(noised, timesteps, conditions))
    uncached = timed(lambda: dit(noised, timesteps, video, static, positions))
    return {
        "seconds": cached.seconds,
        "processor_seconds": cached.processor_seconds,
        "seconds_without_cache": uncached.seconds,
        "processor_seconds_without_cache": uncached.processor_seconds,
        "processor_seconds_of_conditions": preparing.processor_seconds,
        "ratio": uncached.processor_seconds / cached.processor_seconds,
        "largest_difference": (cached.result - uncached.result).abs().max().item(),
        "largest_value": cached.result.abs().max().item(),
    }


def ss_flow_step() -> dict[str, float]:
    """Run one unguided step of the structure flow, conditions made beforehand."""
    flow = build("ss-flow")
    preparing = timed(lambda: flow.prepare_conditions(ImageCondition(torch.randn(1, IMAGE_TOKENS, 1024))), repeats=1)
    noised, timesteps = torch.randn(1, 8, 16, 16, 16), torch.tensor([500.0])
    step = timed(lambda: flow.denoise(noised, timesteps, preparing.result))
    assert step.result.isfinite().all()
    return {
        "seconds": step.seconds,
        "processor_seconds": step.processor_seconds,
        "processor_seconds_of_conditions": preparing.processor_seconds,
    }


def slat_flow_step() -> dict[str, float]:
    """Run one unguided step of the structured latent flow on 10k voxels: conditions and voxel tables made beforehand."""
    flow = build("slat-flow")
    voxels = VoxelBatch.pack([sphere_voxels(64).to(torch.get_default_device())])
    tables = timed(lambda: (voxels.neighbors, voxels.coarse.neighbors), repeats=1)
    preparing = timed(lambda: flow.prepare_conditions(ImageCondition(torch.randn(1, IMAGE_TOKENS, 1024))), repeats=1)
    noised, timesteps = torch.randn(len(voxels.coords), 8), torch.tensor([500.0])
    step = timed(lambda: flow.denoise(noised, timesteps, voxels, preparing.result))
    assert step.result.isfinite().all()
    return {
        "seconds": step.seconds,
        "processor_seconds": step.processor_seconds,
        "processor_seconds_of_conditions": preparing.processor_seconds,
        "processor_seconds_of_tables": tables.processor_seconds,
        "voxels": len(voxels.coords),
        "coarse_voxels": len(voxels.coarse.coords),
    }


CASES: dict[str, Callable[[], dict[str, float]]] = {
    case.__name__: case for case in (vae_encode, vae_decode, dit_step, ss_flow_step, slat_flow_step)
}


def run_here(name: str, threads: int, device: str) -> None:
    """Run one case in this process and print its values as JSON."""
    torch.set_num_threads(threads)
    torch.set_default_device(device)
    torch.manual_seed(0)
    with torch.no_grad():
        values = CASES[name]()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    values["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else resident
    print(json.dumps(values))


def run_apart(name: str, threads: int, device: str) -> dict[str, float]:
    """Run one case in a process of its own and return its values."""
    free = psutil.virtual_memory().available / 2**30
    if free < 1.2 * EXPECTED[name]:
        raise SystemExit(
            f"{name}: needs about {EXPECTED[name]:.0f} GiB, {free:.1f} GiB are free. Free some, or leave it out."
        )
    command = [sys.executable, __file__, "--case", name, "--threads", str(threads), "--device", device]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.case:
        run_here(options.case, options.threads, options.device)
        return
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    machine["device"] = device_name(options.device)
    report: dict[str, Any] = {**machine, "threads": options.threads, "limit_gib": LIMIT, "cases": {}}
    report["load_of_others"] = os.getloadavg()[0]  # processes waiting for the processor in the last minute
    print(f"{'case':<16}{'seconds':>9}{'peak GiB':>10}  others")
    for name in options.cases:
        values = run_apart(name, options.threads, options.device)
        report["cases"][name] = values
        others = {key: value for key, value in values.items() if key not in ("seconds", "peak_gib")}
        text = ", ".join(f"{key} {value:.3g}" for key, value in others.items())
        print(f"{name:<16}{values['seconds']:>9.2f}{values['peak_gib']:>10.2f}  {text}", flush=True)
        if values["peak_gib"] > LIMIT:
            raise SystemExit(f"{name}: {values['peak_gib']:.1f} GiB, more than {LIMIT:.0f}.")
    if options.output:
        write_json(options.output, report)


if __name__ == "__main__":
    main()
