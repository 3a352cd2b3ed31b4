"""Measure minutes and memory of `gvf evaluate --predictions` on random frames: 100 objects x 4 views x 32 frames at 512 x 512.

Frames are PNGs of noise, the slowest to read. One object is written; the others link to its files, in another order, so
that the disk holds 0.2 GB instead of 20, and every file is still opened, hashed and decoded (from the page cache). Memory
is the largest sum over the command and its workers of what they hold (proportional set size), sampled every half second.
The command runs in the folder of the frames with this checkout's params.yaml and tracking switched off.

    python benchmarks/evaluate.py [--objects 100] [--protocol consistent4d] [--folder work/benchmarks/frames]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import yaml
from PIL import Image

from gvf.storage.files import write_json
from gvf.tracking.provenance import device_name
from gvf_evaluation.protocols import PROTOCOLS


def write_frames(folder: Path, objects: int, views: int, frames: int, size: int) -> None:
    """Write random ground truth and predictions; objects after the first link to its files, each beginning at another frame."""
    generator = np.random.default_rng(0)
    for side in ("gt", "pred"):
        for number in range(objects):
            for view in range(views):
                place = folder / side / f"object_{number:03d}" / f"eval_{view}"
                place.mkdir(parents=True, exist_ok=True)
                for frame in range(frames):
                    path = place / f"{frame}.png"
                    if path.exists():
                        continue
                    if number:
                        source = folder / side / "object_000" / f"eval_{view}" / f"{(frame + number) % frames}.png"
                        os.link(source, path)
                    else:
                        pixels = generator.integers(0, 256, (size, size, 3), np.uint8)
                        Image.fromarray(pixels).save(path, compress_level=1)


@dataclass(frozen=True)
class Cost:
    """seconds: wall-clock time. processor_seconds: of the command and its workers, short by less than 0.5 s for each.

    peak_bytes: the most memory that they held at once.
    """

    seconds: float
    processor_seconds: float
    peak_bytes: int


def watch(command: list[str], folder: Path) -> Cost:
    """Run a command in a folder and return what it cost."""
    start, most = time.perf_counter(), 0
    used: dict[int, float] = {}
    process = psutil.Popen(command, cwd=folder)
    while process.poll() is None:
        held = 0
        for one in [process, *process.children(recursive=True)]:
            try:
                held += one.memory_full_info().pss
                used[one.pid] = sum(one.cpu_times()[:2])
            except psutil.Error:
                continue  # ended in between
        most = max(most, held)
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return Cost(time.perf_counter() - start, sum(used.values()), most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100)
    parser.add_argument("--protocol", choices=list(PROTOCOLS), default="consistent4d")
    parser.add_argument("--folder", type=Path, default=Path("work/benchmarks/frames"))
    parser.add_argument("--output", type=Path, default=Path("work/benchmarks/evaluate.json"))
    options = parser.parse_args()
    protocol = PROTOCOLS[options.protocol]
    folder = options.folder.resolve() / str(options.objects)
    size = protocol.image_size
    write_frames(folder, options.objects, protocol.num_views, protocol.num_frames, size)
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    values["tracking"]["enabled"] = False
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    command = [sys.executable, "-m", "gvf.cli", "evaluate", "--predictions", str(folder / "pred"), "--method"]
    results = {"objects": options.objects, "protocol": protocol.name, "size": size, "device": device_name("cpu")}
    method = f"random frames {os.getpid()}"
    for kind in ("scored", "kept"):  # the second time everything has been scored
        cost = watch([*command, method, "--protocol", protocol.name], folder)
        pairs = options.objects * protocol.num_views * protocol.num_frames
        minutes, busy, memory = cost.seconds / 60, cost.processor_seconds / 60, cost.peak_bytes / 2**30
        print(f"{kind}: {pairs} pairs, {minutes:.1f} min ({busy:.1f} of processor time), {memory:.2f} GiB", flush=True)
        results[kind] = {"pairs": pairs, **asdict(cost)}
    print(json.dumps(results))
    write_json(options.output, results)


if __name__ == "__main__":
    main()
