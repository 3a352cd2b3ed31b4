"""Command `bake`: the vertices of one animation clip over time, as a plain npz for other tools."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from gvf.data.gltf.baking import clip_times
from gvf.data.named_clip import bake_named_clip
from gvf.storage.files import save_npz


def bake(file: Path, clip: str | None, frames: int, output: Path, raw: bool) -> None:
    """Write `vertices` [T, V, 3] float32 and `faces` [F, 3] int32 of all meshes of the default scene.

    frames: T, spaced evenly from first to last keyframe. raw: keep the file's units and axes instead of z up in the unit
    box; vertices so far from the origin that float32 would distort them are then float64. Raises UserError when the
    file or the clip cannot be baked.
    """
    baked = bake_named_clip(file, clip, lambda animation: clip_times(animation, frames))
    mesh = baked.mesh if raw else baked.normalized().mesh
    save_npz(output, vertices=compact(mesh.vertices), faces=mesh.faces)


def compact(vertices: np.ndarray) -> np.ndarray:
    """Return vertices [T, V, 3] as float32, unless that moves one by more than a millionth of their bounding box."""
    rounded = vertices.astype(np.float32)
    side = float(np.ptp(vertices, axis=(0, 1)).max())
    return rounded if float(np.abs(rounded - vertices).max()) <= 1e-6 * side else vertices


@click.command("bake")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--clip", metavar="NAME", help="Animation to bake; may be left out when the file has only one.")
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    required=True,
    help="Number of frames, evenly spaced from the first keyframe to the last.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The npz to write."
)
@click.option(
    "--raw",
    is_flag=True,
    help="Keep the file's units and axes (glTF, y up) instead of z up, unit box. "
    "Objects far from the origin are stored as float64.",
)
def command(file: Path, clip: str | None, frames: int, output: Path, raw: bool) -> None:
    """Bake one animation clip of a .glb or .gltf FILE to `vertices` (T,V,3) float32 and `faces` (F,3) int32."""
    bake(file, clip, frames, output, raw)
