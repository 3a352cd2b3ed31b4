"""A second, plain reading of binary glTF: chunks by `struct`, interpolation by SciPy, one vertex loop per property.

Only what the procedural assets use; it checks what it reads with assertions, and is there to disagree with the writer
and with the library's reader.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from scipy.interpolate import CubicHermiteSpline, interp1d
from scipy.spatial.transform import Rotation, Slerp

SIZES = {5121: 1, 5123: 2, 5126: 4}
TYPES = {5121: np.uint8, 5123: np.uint16, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """A parsed file: its JSON document and its binary chunk."""

    def __init__(self, data: bytes) -> None:
        magic, version, total, json_length, json_type = struct.unpack_from("<4sIII4s", data)
        assert (magic, version, json_type) == (b"glTF", 2, b"JSON")
        assert total == len(data)
        assert json_length % 4 == 0
        self.document: dict[str, Any] = json.loads(data[20 : 20 + json_length])
        binary_length, binary_type = struct.unpack_from("<I4s", data, 20 + json_length)
        assert binary_type == b"BIN\0"
        assert 28 + json_length + binary_length == total
        self.binary = data[28 + json_length :]
        assert 0 <= len(self.binary) - self.document["buffers"][0]["byteLength"] < 4

    def view(self, index: int) -> bytes:
        view = self.document["bufferViews"][index]
        end = view["byteOffset"] + view["byteLength"]
        assert view["byteOffset"] % 4 == 0
        assert end <= self.document["buffers"][0]["byteLength"]
        return self.binary[view["byteOffset"] : end]

    def array(self, index: int) -> np.ndarray:
        """[count, width], normalised integers as fractions."""
        accessor = self.document["accessors"][index]
        data, width = self.view(accessor["bufferView"]), WIDTHS[accessor["type"]]
        assert len(data) == accessor["count"] * width * SIZES[accessor["componentType"]]
        values = np.frombuffer(data, TYPES[accessor["componentType"]]).reshape(-1, width)
        if "min" in accessor:
            np.testing.assert_array_equal(values.min(axis=0), np.float32(accessor["min"]))
            np.testing.assert_array_equal(values.max(axis=0), np.float32(accessor["max"]))
        return values / np.iinfo(values.dtype).max if accessor.get("normalized") else values

    def key_range(self) -> tuple[float, float]:
        times = [self.array(sampler["input"]) for sampler in self.document["animations"][0]["samplers"]]
        return min(float(t[0, 0]) for t in times), max(float(t[-1, 0]) for t in times)

    def frames(self, num_frames: int) -> list[np.ndarray]:
        """World positions [V,3] of all vertices, mesh nodes in depth-first order, evenly from first to last key."""
        return [self.pose(float(time)) for time in np.linspace(*self.key_range(), num_frames)]

    def triangles(self) -> np.ndarray:
        """[F,3] indices into the vertices of a frame."""
        result, start = [], 0
        for node in self.order():
            for primitive in self.primitives(node):
                result.append(self.array(primitive["indices"]).astype(np.int64).reshape(-1, 3) + start)
                start += len(self.array(primitive["attributes"]["POSITION"]))
        return np.concatenate(result)

    def primitives(self, node: int) -> list[dict[str, Any]]:
        mesh = self.document["nodes"][node].get("mesh")
        return [] if mesh is None else self.document["meshes"][mesh]["primitives"]

    def order(self) -> list[int]:
        pending, result = list(reversed(self.document["scenes"][0]["nodes"])), []
        while pending:
            result.append(pending.pop())
            pending.extend(reversed(self.document["nodes"][result[-1]].get("children", [])))
        assert sorted(result) == list(range(len(self.document["nodes"])))
        return result

    def pose(self, time: float) -> np.ndarray:
        animated = self._animated(time)
        worlds: dict[int, np.ndarray] = {}
        parents = {c: i for i, node in enumerate(self.document["nodes"]) for c in node.get("children", [])}
        order = self.order()
        for index in order:
            node = {**self.document["nodes"][index], **animated.get(index, {})}
            local = np.eye(4)
            turn = Rotation.from_quat(node.get("rotation", [0.0, 0.0, 0.0, 1.0])).as_matrix()
            local[:3, :3] = turn @ np.diag(node.get("scale", [1.0, 1.0, 1.0]))
            local[:3, 3] = node.get("translation", [0.0, 0.0, 0.0])
            worlds[index] = worlds[parents[index]] @ local if index in parents else local
        vertices = []
        for index in order:
            node = self.document["nodes"][index]
            for primitive in self.primitives(index):
                positions = self.array(primitive["attributes"]["POSITION"]).astype(np.float64)
                weights = animated.get(index, {}).get("weights", [])
                for weight, target in zip(weights, primitive.get("targets", []), strict=True):
                    positions = positions + weight * self.array(target["POSITION"])
                if "skin" in node:
                    positions = self._skinned(primitive, positions, self.document["skins"][node["skin"]], worlds)
                else:
                    positions = positions @ worlds[index][:3, :3].T + worlds[index][:3, 3]
                vertices.append(positions)
        return np.concatenate(vertices)

    def _skinned(self, primitive: dict, positions: np.ndarray, skin: dict, worlds: dict[int, np.ndarray]) -> np.ndarray:
        inverse_bind = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        matrices = np.stack([worlds[joint] @ inverse_bind[i] for i, joint in enumerate(skin["joints"])])
        joints = self.array(primitive["attributes"]["JOINTS_0"])
        weights = self.array(primitive["attributes"]["WEIGHTS_0"])
        homogeneous = np.column_stack([positions, np.ones(len(positions))])
        result = np.zeros((len(positions), 3))
        for slot in range(4):
            moved = np.einsum("vij,vj->vi", matrices[joints[:, slot]], homogeneous)
            result += weights[:, slot, None] * moved[:, :3]
        return result

    def _animated(self, time: float) -> dict[int, dict[str, np.ndarray]]:
        animation = self.document["animations"][0]
        result: dict[int, dict[str, np.ndarray]] = {}
        for channel in animation["channels"]:
            sampler, target = animation["samplers"][channel["sampler"]], channel["target"]
            times = self.array(sampler["input"])[:, 0].astype(np.float64)
            values = self.array(sampler["output"]).astype(np.float64).reshape(len(times), -1)
            rotation = target["path"] == "rotation"
            at = min(max(time, times[0]), times[-1])
            if sampler["interpolation"] == "CUBICSPLINE":
                before, middle, after = np.split(values, 3, axis=1)
                np.testing.assert_array_equal(before, after)  # smooth curves, so one tangent serves both sides
                value = CubicHermiteSpline(times, middle, after)(at)
            elif sampler["interpolation"] == "STEP":
                value = interp1d(times, values, kind="previous", axis=0)(at)
            elif rotation:
                value = Slerp(times, Rotation.from_quat(values))([at]).as_quat()[0]
            else:
                value = interp1d(times, values, axis=0)(at)
            assert target["path"] not in result.setdefault(target["node"], {}), "a property has two channels"
            result[target["node"]][target["path"]] = value
        return result
