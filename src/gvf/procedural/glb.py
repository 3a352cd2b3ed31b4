"""Write binary glTF 2.0: accessors, materials, meshes with morph targets, nodes, skins and one animation.

Section numbers are those of the glTF 2.0 specification. Y is up, units are metres, quaternions are xyzw.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gvf.procedural.shapes import Array, Shape, Vector

Interpolation = Literal["LINEAR", "STEP", "CUBICSPLINE"]
Path = Literal["translation", "rotation", "scale", "weights"]

_COMPONENT_TYPES: dict[np.dtype[Any], int] = {
    np.dtype(np.uint8): 5121,
    np.dtype(np.uint16): 5123,
    np.dtype(np.float32): 5126,
}
_ELEMENT_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_VERTICES, _INDICES = 34962, 34963  # bufferView.target
_GRID = 2.0**20  # steps of stored numbers in one unit, a thousandth of a millimetre; see `_stored`


@dataclass(frozen=True)
class Primitive:
    """One draw call of a mesh: a shape of V vertices, the index of its material, and what deforms it.

    influences: joints [V,4], indices into the skin's joints, and their weights [V,4]; None for a mesh without skin.
    targets: offsets of positions and of normals ([V,3], [V,3]), one pair for each morph target.
    """

    shape: Shape
    material: int
    influences: tuple[NDArray[np.int64], Array] | None = None
    targets: Sequence[tuple[Array, Array]] = ()


class GlbBuilder:
    """A scene with a single animation; the same calls give the same bytes of the file on every machine."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._images: list[dict[str, Any]] = []
        self._materials: list[dict[str, Any]] = []
        self._meshes: list[dict[str, Any]] = []
        self._nodes: list[dict[str, Any]] = []
        self._skins: list[dict[str, Any]] = []
        self._roots: list[int] = []
        self._samplers: list[dict[str, Any]] = []
        self._channels: list[dict[str, Any]] = []
        self._time_accessors: dict[bytes, int] = {}

    def add_texture(self, png: bytes) -> int:
        """Embed a PNG image, repeated and filtered linearly, and return the texture's index."""
        self._images.append({"bufferView": self._view(png, None), "mimeType": "image/png"})
        return len(self._images) - 1

    def add_material(
        self,
        name: str,
        *,
        color: Vector = (1.0, 1.0, 1.0, 1.0),
        texture: int | None = None,
        emissive: Vector = (0.0, 0.0, 0.0),
        roughness: float = 0.8,
    ) -> int:
        """Add an opaque material and return its index. color: linear RGBA, multiplies texture and vertex colours."""
        surface: dict[str, Any] = {
            "baseColorFactor": _floats(color),
            "metallicFactor": 0.0,
            "roughnessFactor": roughness,
        }
        if texture is not None:
            surface["baseColorTexture"] = {"index": texture}
        material: dict[str, Any] = {"name": name, "pbrMetallicRoughness": surface}
        if any(emissive):
            material["emissiveFactor"] = _floats(emissive)
        self._materials.append(material)
        return len(self._materials) - 1

    def add_mesh(self, name: str, primitives: Sequence[Primitive], morph_weights: Vector = ()) -> int:
        """Add a mesh of one or more primitives, all with `len(morph_weights)` morph targets, and return its index."""
        assert all(len(primitive.targets) == len(morph_weights) for primitive in primitives), name
        mesh: dict[str, Any] = {"name": name, "primitives": [self._primitive(primitive) for primitive in primitives]}
        if morph_weights:
            mesh["weights"] = _floats(morph_weights)
        self._meshes.append(mesh)
        return len(self._meshes) - 1

    def add_node(
        self,
        name: str,
        parent: int | None = None,
        *,
        translation: Vector = (0.0, 0.0, 0.0),
        rotation: Vector = (0.0, 0.0, 0.0, 1.0),
        scale: Vector = (1.0, 1.0, 1.0),
        mesh: int | None = None,
        skin: int | None = None,
    ) -> int:
        """Add a node below `parent`, or a root of the scene, and return its index. rotation: xyzw."""
        node: dict[str, Any] = {"name": name}
        for key, value, rest in (
            ("translation", translation, (0.0, 0.0, 0.0)),
            ("rotation", rotation, (0.0, 0.0, 0.0, 1.0)),
            ("scale", scale, (1.0, 1.0, 1.0)),
        ):
            if tuple(value) != rest:
                node[key] = _floats(value)
        if mesh is not None:
            node["mesh"] = mesh
        if skin is not None:
            node["skin"] = skin
        self._nodes.append(node)
        index = len(self._nodes) - 1
        if parent is None:
            self._roots.append(index)
        else:
            self._nodes[parent].setdefault("children", []).append(index)
        return index

    def add_skin(self, name: str, joints: Sequence[int], inverse_bind_matrices: Array) -> int:
        """Add a skin over joint nodes and return its index. inverse_bind_matrices: [J,4,4], row-major as in numpy."""
        columns = inverse_bind_matrices.transpose(0, 2, 1).reshape(len(joints), 16)  # stored column-major
        self._skins.append(
            {
                "name": name,
                "joints": list(joints),
                "inverseBindMatrices": self._accessor(_stored(columns), None),
            }
        )
        return len(self._skins) - 1

    def add_channel(
        self,
        node: int,
        path: Path,
        times: Array,
        values: Array,
        interpolation: Interpolation,
        tangents: Array | None = None,
    ) -> None:
        """Animate one property of a node.

        times: [K] seconds, increasing; values: [K,W]; tangents: [K,W] per second, used as both in- and out-tangents,
        with CUBICSPLINE only (Appendix C.5: each key stores in-tangent, value, out-tangent).
        """
        assert (tangents is not None) == (interpolation == "CUBICSPLINE"), interpolation
        output = values if tangents is None else np.stack([tangents, values, tangents], axis=1)
        width = 1 if path == "weights" else values.shape[1]
        self._samplers.append(
            {
                "input": self._times(times),
                "interpolation": interpolation,
                "output": self._accessor(_stored(output.reshape(-1, width)), None),
            }
        )
        self._channels.append({"sampler": len(self._samplers) - 1, "target": {"node": node, "path": path}})

    def to_bytes(self, animation: str) -> bytes:
        """Return the whole file (Section 4.4): header, JSON chunk and binary chunk. animation: the animation's name."""
        document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "gvf procedural"},
            "scene": 0,
            "scenes": [{"nodes": self._roots}],
            "nodes": self._nodes,
            "meshes": self._meshes,
            "materials": self._materials,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._buffer)}],
            "animations": [{"name": animation, "channels": self._channels, "samplers": self._samplers}],
        }
        if self._skins:
            document["skins"] = self._skins
        if self._images:
            document["images"] = self._images
            document["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 10497, "wrapT": 10497}]
            document["textures"] = [{"sampler": 0, "source": index} for index in range(len(self._images))]
        self._check_layout()
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        binary = bytes(self._buffer) + bytes(-len(self._buffer) % 4)
        total = 12 + 8 + len(text) + 8 + len(binary)
        return b"".join(
            (
                struct.pack("<4sII", b"glTF", 2, total),
                struct.pack("<I4s", len(text), b"JSON"),
                text,
                struct.pack("<I4s", len(binary), b"BIN\0"),
                binary,
            )
        )

    def _primitive(self, primitive: Primitive) -> dict[str, Any]:
        shape = primitive.shape
        count = len(shape.positions)
        assert count < 2**16 - 1, "indices are 16 bits wide"
        assert shape.triangles.min() >= 0, "negative vertex index"
        assert shape.triangles.max() < count, "vertex index out of range"
        attributes = {
            "POSITION": self._accessor(_stored(shape.positions), _VERTICES, bounds=True),
            "NORMAL": self._accessor(_stored(shape.normals), _VERTICES),
        }
        if "baseColorTexture" in self._materials[primitive.material]["pbrMetallicRoughness"]:
            attributes["TEXCOORD_0"] = self._accessor(_stored(shape.uvs), _VERTICES)
        if not np.all(shape.colors == 1.0):
            colors = np.round(np.clip(shape.colors, 0.0, 1.0) * 255.0).astype(np.uint8)
            attributes["COLOR_0"] = self._accessor(colors, _VERTICES, normalized=True)
        if primitive.influences is not None:
            joints, weights = primitive.influences
            attributes["JOINTS_0"] = self._accessor(joints.astype(np.uint8), _VERTICES)
            attributes["WEIGHTS_0"] = self._accessor(_shares(weights), _VERTICES, normalized=True)
        indices = shape.triangles.reshape(-1, 1).astype(np.uint16)
        result: dict[str, Any] = {
            "attributes": attributes,
            "indices": self._accessor(indices, _INDICES),
            "material": primitive.material,
        }
        if primitive.targets:
            result["targets"] = [
                {
                    "POSITION": self._accessor(_stored(positions), _VERTICES, bounds=True),
                    "NORMAL": self._accessor(_stored(normals), _VERTICES),
                }
                for positions, normals in primitive.targets
            ]
        return result

    def _times(self, times: Array) -> int:
        assert len(times) >= 2, "an animation needs two keys"
        assert times[0] >= 0.0, "key times start at zero or later"
        assert np.all(np.diff(times) > 0.0), "key times must increase"
        data = _stored(times)
        key = data.tobytes()
        if key not in self._time_accessors:
            self._time_accessors[key] = self._accessor(data[:, None], None, bounds=True)
        return self._time_accessors[key]

    def _accessor(
        self, data: NDArray[Any], target: int | None, *, bounds: bool = False, normalized: bool = False
    ) -> int:
        """Add an accessor over [count, width] data in a buffer view of its own, and return its index."""
        assert np.isfinite(data).all(), "accessor with a value that is not finite"
        accessor: dict[str, Any] = {
            "bufferView": self._view(np.ascontiguousarray(data).tobytes(), target),
            "componentType": _COMPONENT_TYPES[data.dtype],
            "count": len(data),
            "type": _ELEMENT_TYPES[data.shape[1]],
        }
        if bounds:
            accessor["min"] = data.min(axis=0).tolist()
            accessor["max"] = data.max(axis=0).tolist()
        if normalized:
            accessor["normalized"] = True
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def _view(self, data: bytes, target: int | None) -> int:
        self._buffer.extend(bytes(-len(self._buffer) % 4))
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self._buffer), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self._buffer.extend(data)
        self._views.append(view)
        return len(self._views) - 1

    def _check_layout(self) -> None:
        """Check Section 3.6.2.4: aligned offsets, vertex strides that are multiples of 4, every view inside the buffer."""
        for view in self._views:
            assert view["byteOffset"] % 4 == 0, view
            assert view["byteOffset"] + view["byteLength"] <= len(self._buffer), view
        for accessor in self._accessors:
            view = self._views[accessor["bufferView"]]
            assert view["byteLength"] % accessor["count"] == 0, accessor
            if view.get("target") == _VERTICES:
                assert view["byteLength"] // accessor["count"] % 4 == 0, accessor
        assert self._channels, "nothing is animated"


def _shares(weights: Array) -> NDArray[np.uint16]:
    """Return weights [V,4] as 16-bit fractions whose rows sum to exactly 1 (65535)."""
    shares = np.round(weights * 65535.0).astype(np.int64)
    largest = shares.argmax(axis=1)
    shares[np.arange(len(shares)), largest] += 65535 - shares.sum(axis=1)
    return shares.astype(np.uint16)


def _floats(values: Vector) -> list[float]:
    return _stored(np.asarray(values, np.float64)).tolist()


def _stored(values: Array) -> NDArray[np.float32]:
    """Round float64 values to a grid of 2^-20, with zero unsigned.

    The last digits of products differ between processors, whose matrix kernels sum in different orders. Rounded, they do
    not reach the file, so that its bytes are the same everywhere.
    """
    return (np.rint(values * _GRID) / _GRID + 0.0).astype(np.float32)
