"""Find one animation of a glTF file by its name, and bake it at chosen times."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gvf.data.gltf.animation import Animation
from gvf.data.gltf.baking import bake_clip, load_model
from gvf.data.gltf.document import GltfDocument, read_gltf
from gvf.data.mesh import AnimatedMesh
from gvf.errors import ClipError, UserError
from gvf.text import MAX_NAME, clean


@dataclass(frozen=True)
class BakedClip:
    """One animation of a file. mesh: in the file's units and axes. name, start, end (seconds): of the animation."""

    mesh: AnimatedMesh
    name: str
    start: float
    end: float

    def normalized(self) -> BakedClip:
        """Return the clip with z up in the unit box. Raises UserError when its vertices are all in one place."""
        try:
            return dataclasses.replace(self, mesh=self.mesh.normalized())
        except ClipError as error:
            raise UserError(f"{self.name}: {error.message}") from None


def bake_named_clip(file: Path, clip: str | None, choose_times: Callable[[Animation], np.ndarray]) -> BakedClip:
    """Bake the animation of that name, or the only one. choose_times: returns the times [T] at which it is evaluated.

    Raises UserError when the file cannot be read, or has no such animation.
    """
    try:
        document = read_gltf(file)
        index = find_clip(document, clip)
        model = load_model(document)
        animation = model.animation(index)
        mesh = bake_clip(model, animation, choose_times(animation))
    except ClipError as error:
        raise UserError(error.message) from None
    return BakedClip(mesh, animation.name, animation.start, animation.end)


def find_clip(document: GltfDocument, clip: str | None) -> int:
    """Return the index of the animation of that name, or of the only one. Raises UserError, listing the names, otherwise."""
    names = document.animation_names
    listed = ", ".join(names)
    clip = None if clip is None else clean(clip, MAX_NAME)  # as animation names are
    if not names:
        raise UserError(f"{document.name}: has no animation.")
    if clip is None:
        if len(names) > 1:
            raise UserError(f"{document.name}: has {len(names)} animations. Choose one with --clip: {listed}.")
        return 0
    if names.count(clip) > 1:
        raise UserError(
            f"{document.name}: {names.count(clip)} animations are named {clip!r}. Give them distinct names."
        )
    if clip not in names:
        raise UserError(f"{document.name}: has no animation {clip!r}. It has: {listed}.")
    return names.index(clip)
