"""Minutes and memory of `gvf evaluate --predictions` on random frames: 100 objects x 4 views x 32 frames at 512 x 512.

The frames are written once into a folder (PNG of noise: 20 GB for 100 objects; one object is written, the others link to
its files under names of their own order, so that the disk holds 0.4 GB and every file is opened, hashed and decoded as
often as real ones). Memory is the largest sum over the command and its workers of what they hold alone (proportional set
size), sampled every half second.

    python benchmarks/evaluate.py [--objects 100] [--protocol consistent4d] [--folder work/benchmarks/frames]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from evaluation.protocols import PROTOCOLS
from gvf.files import write_json
from gvf.provenance import device_name


def write_frames(folder: Path, objects: int, views: int, frames: int, size: int) -> None:
    """Random truths and predictions; objects after the first link to its files, each beginning at another frame."""
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


def watch(command: list[str]) -> tuple[float, float]:
    """Seconds that a command took, and the most memory that it and its children held at once, bytes."""
    start, most = time.perf_counter(), 0
    process = psutil.Popen(command)
    while process.poll() is None:
        held = 0
        for one in [process, *process.children(recursive=True)]:
            try:
                held += one.memory_full_info().pss
            except psutil.Error:
                continue  # ended in between
        most = max(most, held)
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, most


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
    command = [sys.executable, "-m", "gvf.cli", "evaluate", "--predictions", str(folder / "pred"), "--method"]
    results = {"objects": options.objects, "protocol": protocol.name, "size": size, "device": device_name("cpu")}
    method = f"random frames {os.getpid()}"
    for kind in ("scored", "kept"):  # the second time everything has been scored
        seconds, memory = watch([*command, method, "--protocol", protocol.name])
        pairs = options.objects * protocol.num_views * protocol.num_frames
        print(f"{kind}: {pairs} pairs of frames, {seconds / 60:.1f} min, {memory / 2**30:.2f} GiB at most", flush=True)
        results[kind] = {"pairs": pairs, "seconds": seconds, "peak_bytes": memory}
    print(json.dumps(results))
    write_json(options.output, results)


if __name__ == "__main__":
    main()
