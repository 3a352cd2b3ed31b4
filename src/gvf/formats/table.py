"""The formats that an asset is exported to: names, suffixes and one line of help. Nothing here imports their code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """A file format. suffixes: of its files, the usual one first. numbered: one file per frame. video: rendered images."""

    suffixes: tuple[str, ...]
    help: str
    numbered: bool = False
    video: bool = False


FORMATS = {
    "ply": Format((".ply",), "3DGS PLY, one file per frame: SuperSplat and most splat tools.", numbered=True),
    "splat": Format((".splat",), ".splat, one file per frame: small web viewers.", numbered=True),
    "spz": Format((".spz",), "SPZ, one file per frame, a quarter of PLY's size: Spark, PlayCanvas.", numbered=True),
    "glb": Format((".glb",), "glTF with KHR_gaussian_splatting; the motion in gvf's own extension."),
    "mp4": Format((".mp4",), "H.264 video of rendered images.", video=True),
    "webm": Format((".webm",), "VP9 video of rendered images, with transparency if wanted.", video=True),
    "usd": Format((".usdc", ".usda", ".usd"), "OpenUSD Gaussian splats over time: usdview, Omniverse."),
}
