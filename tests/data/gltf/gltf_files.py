"""Small glTF files for tests, written straight from the specification and independent of the code under test."""

from __future__ import annotations

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
CUBE = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32)
CUBE_FACES = np.array(
    [
        [0, 1, 3],
        [0, 3, 2],
        [4, 6, 7],
        [4, 7, 5],
        [0, 4, 5],
        [0, 5, 1],
        [2, 3, 7],
        [2, 7, 6],
        [0, 2, 6],
        [0, 6, 4],
        [1, 5, 7],
        [1, 7, 3],
    ]
)
TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)


class GltfFile:
    """A glTF in the making: `json` may be changed freely before it is saved."""

    def __init__(self) -> None:
        self.binary = bytearray()
        self.json: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}]}

    def entry(self, kind: str, **values: Any) -> int:
        """Append to a top-level list; returns the index."""
        self.json.setdefault(kind, []).append(values)
        return len(self.json[kind]) - 1

    def view(self, data: bytes, **values: Any) -> int:
        """Append bytes as a buffer view, 4-byte aligned."""
        self.binary.extend(b"\0" * (-len(self.binary) % 4))
        offset = len(self.binary)
        self.binary.extend(data)
        return self.entry("bufferViews", buffer=0, byteOffset=offset, byteLength=len(data), **values)

    def accessor(self, values: Any, kind: str, component: str = "f4", **more: Any) -> int:
        """Append a tightly packed accessor."""
        data = np.asarray(values, "<" + component)
        view = self.view(data.tobytes())
        return self.entry(
            "accessors", bufferView=view, count=len(data), type=kind, componentType=COMPONENTS[component], **more
        )

    def node(self, root: bool = True, **values: Any) -> int:
        """Append a node, to the scene's roots unless told otherwise."""
        index = self.entry("nodes", **values)
        if root:
            self.json["scenes"][0]["nodes"].append(index)
        return index

    def triangle_mesh(self, positions: Any = TRIANGLE, targets: Any = (), **primitive: Any) -> int:
        """A mesh of one primitive; more attributes go in `attributes`."""
        attributes = {"POSITION": self.accessor(positions, "VEC3"), **primitive.pop("attributes", {})}
        if len(targets):
            primitive["targets"] = [{"POSITION": self.accessor(target, "VEC3")} for target in targets]
        return self.entry("meshes", primitives=[{"attributes": attributes, **primitive}])

    def channel(self, animation: int, node: int, path: str, times: Any, values: Any, mode: str = "LINEAR") -> None:
        """Add one animated property to an animation."""
        kind = {"rotation": "VEC4", "weights": "SCALAR"}.get(path, "VEC3")
        values = np.ravel(values) if path == "weights" else values
        item = self.json["animations"][animation]
        sampler = {
            "input": self.accessor(times, "SCALAR"),
            "output": self.accessor(values, kind),
            "interpolation": mode,
        }
        item["samplers"].append(sampler)
        item["channels"].append({"sampler": len(item["samplers"]) - 1, "target": {"node": node, "path": path}})

    def animation(self, name: str | None = None) -> int:
        """An animation without channels yet."""
        named = {} if name is None else {"name": name}
        return self.entry("animations", samplers=[], channels=[], **named)

    def image(self, pixels: Any) -> int:
        """A PNG inside the buffer, as a texture; returns the texture's index."""
        image = self.entry("images", bufferView=self.view(png(pixels)), mimeType="image/png")
        return self.entry("textures", source=image)

    def glb(self, path: Path) -> Path:
        """Save as one binary file."""
        if self.binary:
            self.json["buffers"] = [{"byteLength": len(self.binary)}]
        text = json.dumps(self.json).encode()
        text += b" " * (-len(text) % 4)
        binary = bytes(self.binary) + b"\0" * (-len(self.binary) % 4)
        chunks = struct.pack("<2I", len(text), 0x4E4F534A) + text
        if binary:
            chunks += struct.pack("<2I", len(binary), 0x004E4942) + binary
        path.write_bytes(struct.pack("<3I", 0x46546C67, 2, 12 + len(chunks)) + chunks)
        return path

    def gltf(self, path: Path, embedded: bool) -> Path:
        """Save as JSON with its buffer in a data URI or in `buffer data.bin` beside it."""
        uri = "buffer%20data.bin"
        if embedded:
            uri = "data:application/octet-stream;base64," + base64.b64encode(self.binary).decode()
        else:
            (path.parent / "buffer data.bin").write_bytes(self.binary)
        self.json["buffers"] = [{"byteLength": len(self.binary), "uri": uri}]
        path.write_text(json.dumps(self.json))
        return path


def png(pixels: Any) -> bytes:
    """PNG bytes of [H, W, 3 or 4] values."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def sliding_triangle(
    name: str = "slide", distance: float = 1.0, duration: float = 1.0, height: float = 1.0
) -> GltfFile:
    """One triangle, 1 wide, that slides along x in one clip."""
    file = GltfFile()
    node = file.node(mesh=file.triangle_mesh(TRIANGLE * np.array([1, height, 1], np.float32)))
    clip = file.animation(name)
    file.channel(clip, node, "translation", [0.0, duration], [[0, 0, 0], [distance, 0, 0]])
    return file


def cube_mesh(file: GltfFile, joints: bool = False) -> int:
    """A mesh of `CUBE`, outer sides out; with `joints`, all its weight on joint 0."""
    attributes = {}
    if joints:
        attributes = {
            "JOINTS_0": file.accessor([[0] * 4] * 8, "VEC4", "u1"),
            "WEIGHTS_0": file.accessor([[1, 0, 0, 0]] * 8, "VEC4"),
        }
    return file.triangle_mesh(CUBE, attributes=attributes, indices=file.accessor(CUBE_FACES.ravel(), "SCALAR", "u2"))


def skinned_strip() -> GltfFile:
    """A quad of 4 vertices on two joints: the lower pair follows joint 0, the upper pair half joint 0, half joint 1.

    Joint 0 is at the origin, joint 1 is its child at (0, 1, 0) and turns by 90 degrees about z in one second. The node
    of the mesh is moved far away, which a skin must ignore.
    """
    file = GltfFile()
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [1, 2, 0]], np.float32)
    weights = [[1, 0, 0, 0], [1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0]]
    mesh = file.triangle_mesh(
        positions,
        attributes={
            "JOINTS_0": file.accessor([[0, 1, 0, 0]] * 4, "VEC4", "u1"),
            "WEIGHTS_0": file.accessor(weights, "VEC4"),
        },
        indices=file.accessor([0, 1, 2, 2, 1, 3], "SCALAR", "u2"),
    )
    child = file.node(root=False, name="upper", translation=[0, 1, 0])
    joint = file.node(name="lower", children=[child])
    inverse = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    inverse[1, 1, 3] = -1.0
    skin = file.entry(
        "skins", joints=[joint, child], inverseBindMatrices=file.accessor(inverse.transpose(0, 2, 1), "MAT4")
    )
    file.node(mesh=mesh, skin=skin, translation=[100, 100, 100])
    clip = file.animation("bend")
    half = np.sqrt(0.5)
    file.channel(clip, child, "rotation", [0.0, 1.0], [[0, 0, 0, 1], [0, 0, half, half]])
    return file
