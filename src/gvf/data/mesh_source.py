"""A mesh in one pose from a file that a person gives: the mesh, and what is needed to write its materials again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gvf.data.gltf.baking import GltfModel, bake_clip, bake_rest, load_model
from gvf.data.gltf.document import read_gltf
from gvf.data.gltf.scene import NodePose
from gvf.data.mesh import AnimatedMesh
from gvf.data.named_clip import find_clip
from gvf.errors import ClipError, UserError

MAX_TRIANGLES = 2_000_000
_MAX_TEXTURE = 2048  # texels along the longer side of a texture that is drawn; the written file keeps the original


@dataclass(frozen=True)
class GltfSource:
    """The glTF file behind a mesh. poses: transforms of the nodes that the chosen animation moves, one frame each."""

    model: GltfModel
    poses: Mapping[int, NodePose]


@dataclass(frozen=True)
class MeshSource:
    """A mesh with one frame, in the file's units and y up. up: the axis that points up in the file itself."""

    mesh: AnimatedMesh
    up: str
    gltf: GltfSource


def read_mesh(path: Path, clip: str | None = None) -> MeshSource:
    """Read the default scene of a .glb or .gltf file: its rest pose, or the first keyframe of the animation `clip`.

    Raises UserError when the file cannot be read, has no such animation, or more than MAX_TRIANGLES triangles.
    """
    try:
        document = read_gltf(path)
        model = load_model(document, MAX_TRIANGLES, _MAX_TEXTURE)
        if clip is None:
            return MeshSource(bake_rest(model), "y", GltfSource(model, {}))
        animation = model.animation(find_clip(document, clip))
        start = np.array([animation.start])
        return MeshSource(bake_clip(model, animation, start), "y", GltfSource(model, animation.poses(start)))
    except ClipError as error:
        raise UserError(error.message) from None
