"""Measure the player of assets in headless Chromium: agreement with our rasteriser, seconds of sorting and drawing, bytes.

The object is an ellipsoid covered with N Gaussians that wobbles for eight frames, drawn from the camera of turntables.
Chromium draws in software (SwiftShader), so drawing is a bound for machines without a GPU; sorting is the same everywhere.
Images are drawn one after another and read back, each from another side. Agreement is the PSNR of 8-bit images against
`rasterize` on the same asset.

    python benchmarks/player.py [--counts 8000 50000] [--size 512] [--chromium /usr/bin/chromium] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from gvf.formats.asset_glb import load_asset_glb, save_asset_glb
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.sh import SH_C0
from gvf.geometry.camera import OrbitCamera
from gvf.rendering.splats import draw_gaussians
from gvf.rendering.turntable import ELEVATION, FOV, RADIUS
from gvf.storage.files import write_json
from gvf.viewer.page import page, write_page

FRAMES, RATE, IMAGES = 8, 12.0, 12
SOFTWARE = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu", "--no-first-run"]
MEASURE = """async ([size, images]) => {
  const player = await gvf;
  const draw = (i) => player.render({ frame: i % player.numFrames, width: size, height: size, camera: { azimuth: 30 * i } });
  await draw(0);
  const sorts = [];
  const start = performance.now();
  for (let i = 0; i < images; i += 1) {
    await draw(i);
    sorts.push(player.statistics.sortSeconds);
  }
  const seconds = (performance.now() - start) / 1000 / images;
  return { seconds, sort: sorts.sort((a, b) => a - b)[images >> 1] };
}"""
PIXELS = """async ([frame, camera, size]) => {
  const { data } = await (await gvf).render({ frame, camera, width: size, height: size, background: "white" });
  return Array.from(data);
}"""


def ellipsoid(count: int) -> Gaussians:
    """Return [FRAMES, count] flat Gaussians on an ellipsoid, evenly spread, with a wave running over it."""
    index = torch.arange(count) + 0.5
    height, turn = 1 - 2 * index / count, math.pi * (1 + math.sqrt(5)) * index
    around = (1 - height.square()).sqrt()
    normals = torch.stack([around * turn.cos(), around * turn.sin(), height], -1)
    means = normals * torch.tensor([0.35, 0.25, 0.4])
    spacing = math.sqrt(4 * math.pi * 0.33**2 / count)
    phases = 2 * math.pi * torch.arange(FRAMES)[:, None, None] / FRAMES
    wave = 1 + 0.08 * torch.sin(phases + 8 * means[:, 2:])
    quats = torch.cat(
        [1 + normals[:, 2:], -normals[:, 1:2], normals[:, :1], torch.zeros(count, 1)], -1
    )  # z to the normal
    rgb = 0.5 + 0.4 * torch.sin(9 * means + torch.tensor([0.0, 2.0, 4.0]))

    def every_frame(values: torch.Tensor) -> torch.Tensor:
        return values.expand(FRAMES, *values.shape)

    return Gaussians.from_rendered(
        means=means * wave,
        colors=every_frame((rgb - 0.5) / SH_C0),
        scales=every_frame(torch.tensor([0.8, 0.8, 0.1]) * spacing).unsqueeze(1).expand(FRAMES, count, 3),
        quats=every_frame(quats),
        opacities=torch.full((FRAMES, count), 0.9),
    )


def measure(browser: Any, folder: Path, count: int, size: int) -> dict[str, float]:
    """Write, open and draw the asset of `count` Gaussians."""
    path = folder / f"{count}.glb"
    save_asset_glb(path, ellipsoid(count), RATE)
    write_page(path.with_suffix(".html"), path.read_bytes(), title=path.stem, facts={})
    moving = load_asset_glb(path).gaussians
    opened = browser.new_page(reduced_motion="reduce")
    opened.goto(path.with_suffix(".html").as_uri())
    opened.wait_for_selector("body[data-state=ready]")
    errors = []
    for frame in (0, FRAMES // 2, FRAMES - 1):
        camera = OrbitCamera(40.0 * frame, ELEVATION, RADIUS, FOV)
        viewmats, Ks = torch.from_numpy(camera.viewmat)[None].float(), torch.from_numpy(camera.K)[None].float()
        expected = draw_gaussians(moving[frame], viewmats, Ks, size)[0].clamp(0, 1).mul(255).round().numpy()
        wish = {"azimuth": camera.azimuth, "elevation": ELEVATION, "radius": RADIUS, "fov": FOV}
        shown = np.array(opened.evaluate(PIXELS, [frame, wish, size])).reshape(size, size, 4)[..., :3]
        errors.append(float(np.mean(((shown - expected) / 255.0) ** 2)))
    times = opened.evaluate(MEASURE, [size, IMAGES])
    opened.close()
    return {
        "gaussians": count,
        "psnr_db": -10 * math.log10(max(*errors, 1e-12)),
        "sort_ms": 1e3 * times["sort"],
        "images_per_second": 1 / times["seconds"],
        "asset_kb": path.stat().st_size / 1e3,
        "page_kb": path.with_suffix(".html").stat().st_size / 1e3,
    }


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[8000, 50000], help="numbers of Gaussians")
    parser.add_argument("--size", type=int, default=512, help="of the images, pixels")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser")
    parser.add_argument("--output", type=Path, help="write the results as JSON, too")
    options = parser.parse_args()
    if options.chromium is None:
        parser.error("Chromium was not found: name it with --chromium")
    results: dict[str, Any] = {"size": options.size, "empty_page_kb": len(page("", {}, asset=b"")) / 1e3, "cases": []}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=SOFTWARE)
        results["browser"], results["load_before"] = browser.version, psutil.getloadavg()[0]
        for count in options.counts:
            results["cases"].append(measure(browser, Path(folder), count, options.size))
            print(json.dumps(results["cases"][-1]))
        browser.close()
    print(json.dumps(results, indent=2))
    if options.output:
        write_json(options.output, results)


if __name__ == "__main__":
    main()
