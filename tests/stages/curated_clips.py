"""Small curated clips for tests of the stages that follow curate."""

from __future__ import annotations

import itertools

import numpy as np

from gvf.data.manifest import ACCEPTED, CURATED_SCHEMA, HELD_OUT, REJECTED, TRAIN, write_manifest
from gvf.data.mesh import AnimatedMesh, Material
from gvf.workspace import Workspace

FRONT = Material("front", (0.0, 0.0, 0.0, 1.0), -1, "OPAQUE", 0.5, True, (1.0, 0.0, 0.0))
BACK = Material("back", (0.0, 0.0, 0.0, 1.0), -1, "OPAQUE", 0.5, True, (0.0, 0.0, 1.0))


def box(num_frames: int = 1) -> AnimatedMesh:
    """A box that glows red where y < 0 and blue where y > 0, swinging sideways over the frames."""
    x, z = 0.3, 0.4
    rings = [-0.2, 0.0, 0.2]  # along y; the two halves share no vertex, so each has its colour
    vertices, faces, materials = [], [], []
    for half, (near, far) in enumerate(itertools.pairwise(rings)):
        start = len(vertices)
        vertices += [(sx * x, y, sz * z) for y in (near, far) for sx, sz in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        sides = [(i, (i + 1) % 4, (i + 1) % 4 + 4, i + 4) for i in range(4)]
        sides.append((0, 1, 2, 3) if half == 0 else (7, 6, 5, 4))
        for a, b, c, d in sides:
            faces += [(start + a, start + b, start + c), (start + a, start + c, start + d)]
            materials += [half, half]
    rest = np.array(vertices, np.float32)
    sway = 0.1 * np.sin(2 * np.pi * np.arange(num_frames) / max(num_frames, 1))
    moved = rest[None] + (sway[:, None] * (rest[:, 2] + z))[..., None] * np.array([1, 0, 0])
    moved = moved.astype(np.float32)
    return AnimatedMesh(
        vertices=moved,
        faces=np.array(faces, np.int32),
        face_materials=np.array(materials, np.int32),
        uvs=np.zeros((len(rest), 2), np.float32),
        colors=np.ones((len(rest), 4), np.float32),
        materials=(FRONT, BACK),
        textures=(),
        times=np.arange(num_frames, dtype=np.float32),
        points=moved,
    )


def write_curated(splits: dict[str, str | None], num_frames: int = 3) -> None:
    """`data/curated` in the working folder: clips by id with their split, None for a rejected one."""
    assert set(splits.values()) <= {TRAIN, HELD_OUT, None}
    folder = Workspace().curated
    folder.mkdir(parents=True)
    rows = []
    for clip_id, split in splits.items():
        if split is not None:
            box(num_frames).save(folder / f"{clip_id}.npz")
        rows.append(
            {
                "clip_id": clip_id,
                "asset": "assets/box.glb",
                "asset_sha256": "0" * 64,
                "source": "glb",
                "family": "box",
                "kind": "prop",
                "skeleton": "none",
                "animation": "sway",
                "animation_index": 0,
                "duration": 1.0,
                "error": None,
                "decision": REJECTED if split is None else ACCEPTED,
                "reason": "motion" if split is None else None,
                "message": None,
                "motion": 0.1,
                "num_vertices": 16,
                "num_triangles": 20,
                "mesh_sha256": "1" * 64,
                "aesthetic_score": None,
                "aesthetic_note": None,
                "split": split,
                "asset_seen": split == HELD_OUT,
                "skeleton_seen": split == HELD_OUT,
            }
        )
    write_manifest(Workspace().curated_manifest, rows, CURATED_SCHEMA)
