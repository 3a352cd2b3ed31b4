"""Decode meshes compressed with Draco (glTF extension KHR_draco_mesh_compression) by Google's decoder (DracoPy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gvf.data.gltf.document import DRACO, AccessorHeader, GltfDocument
from gvf.data.gltf.fields import Fields

_POINT_CLOUD, _TRIANGULAR_MESH = 0, 1
_SEQUENTIAL, _EDGEBREAKER = 0, 1
_HAS_METADATA = 0x8000
_MAX_NESTING = 16  # of metadata in metadata


@dataclass(frozen=True)
class DracoPrimitive:
    """Indices of the accessors with the decoded data of a primitive: one per attribute, and one for the triangle indices."""

    attributes: dict[str, int]
    indices: int


def decode_primitive(document: GltfDocument, primitive: Fields) -> DracoPrimitive | None:
    """Decode a primitive that is compressed with Draco and add its arrays to the document; return None when it is not.

    The primitive's accessors declare the counts, shapes and component types of the data. A stream that would unpack to
    more is refused before it is decoded. Raises ClipError("invalid").
    """
    extension = primitive.extension(DRACO)
    if extension is None:
        return None
    accessors = len(document.accessors)
    headers = {}
    for name in extension.child("attributes"):
        if name in primitive.child("attributes"):
            headers[name] = document.header(primitive.child("attributes").index(name, accessors))
    if "POSITION" not in headers:
        extension.fail("has no POSITION.")
    if "indices" not in primitive:
        primitive.fail(f"is compressed with {DRACO} and lacks indices, which that extension requires.")
    num_vertices = headers["POSITION"].count
    corners = document.header(primitive.index("indices", accessors))
    view, _ = document.view(extension)
    stream = view.tobytes()
    faces, points = _announced_size(stream, extension)
    if faces * 3 > max(corners.count, 1) or (points is not None and points > num_vertices):
        extension.fail(
            f"unpacks to more than the {corners.count} indices and {num_vertices} vertices of its accessors."
        )
    triangles, by_id = _decode(stream, extension)
    count = max((len(data) for data in by_id.values()), default=0)
    if len(triangles) > corners.count or count > num_vertices:
        extension.fail(
            f"unpacks to {len(triangles)} indices and {count} vertices, "
            f"but its accessors have {corners.count} and {num_vertices}."
        )
    if count < num_vertices:
        extension.warn(f"unpacks to {count} vertices, but its accessors have {num_vertices}.")
    decoded = {}
    for name, header in headers.items():
        identifier = extension.child("attributes").integer(name)
        if identifier not in by_id:
            extension.fail(f"has no attribute {identifier}, which should be {name}.")
        data = _converted(by_id[identifier], header, count, extension, name)
        source = document.accessors[primitive.child("attributes").index(name, accessors)]
        values = {key: source.values.get(key) for key in ("type", "componentType", "normalized")}
        decoded[name] = document.add_accessor({**values, "count": len(data)}, f"{extension.where}.{name}", data)
    values = {"type": "SCALAR", "componentType": 5125, "count": len(triangles)}
    return DracoPrimitive(decoded, document.add_accessor(values, f"{extension.where}.indices", triangles))


def _decode(stream: bytes, extension: Fields) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Return the triangle indices [3 F] uint32, and the values [V, width] of each attribute by its id."""
    import DracoPy

    try:
        mesh = DracoPy.decode(stream)
        triangles = np.ascontiguousarray(mesh.faces, np.uint32).reshape(-1)
        by_id = {int(attribute["unique_id"]): np.asarray(attribute["data"]) for attribute in mesh.attributes}
    except Exception as error:  # DracoPy raises its own types, plain Exception and array errors
        extension.fail(f"cannot be decoded ({error}).")
    if not len(triangles):
        extension.fail("cannot be used: it holds no triangles.")
    return triangles, by_id


def _converted(data: np.ndarray, header: AccessorHeader, count: int, extension: Fields, name: str) -> np.ndarray:
    """Return the decoded data of one attribute in the shape and type of its accessor."""
    if data.shape != (count, *(header.element_shape or (1,))):
        extension.fail(
            f"{name} unpacks to shape {data.shape}, but its accessor has elements of shape {header.element_shape}."
        )
    data = data.reshape(count, *header.element_shape)
    if header.dtype.kind == "f" or data.dtype == header.dtype:
        return data.astype(header.dtype, copy=False)
    limits = np.iinfo(header.dtype)
    if not np.isfinite(data).all() or data.min() < limits.min or data.max() > limits.max:
        extension.fail(f"{name} unpacks to values beyond the component type of its accessor.")
    # Some encoders store whole numbers, such as joints, as floats.
    return np.rint(data).astype(header.dtype)


def _announced_size(stream: bytes, extension: Fields) -> tuple[int, int | None]:
    """Return the numbers of faces and points that a Draco stream announces; None for points known only after decoding.

    Source: Draco bitstream specification 2.2, sections 3 to 6 (header, metadata, connectivity).
    """
    reader = _Reader(stream)
    try:
        if reader.take(5) != b"DRACO":
            extension.fail("cannot be decoded: it does not begin with 'DRACO'.")
        major, minor, kind, method = reader.take(4)
        flags = int.from_bytes(reader.take(2), "little")
        if kind != _TRIANGULAR_MESH:
            what = "a point cloud" if kind == _POINT_CLOUD else f"a Draco geometry of kind {kind}"
            extension.fail(f"holds {what}; only triangle meshes are read.")
        if (major, minor) != (2, 2):
            extension.fail(f"is Draco bitstream {major}.{minor}, but the extension is for 2.2. Save the asset again.")
        if flags & _HAS_METADATA:
            for _ in range(reader.varint()):
                reader.varint()
                reader.skip_metadata()
            reader.skip_metadata()
        if method == _SEQUENTIAL:
            return reader.varint(), reader.varint()
        if method == _EDGEBREAKER:
            reader.take(1)  # coding of the symbols
            num_encoded_vertices = reader.varint()
            num_faces = reader.varint()
            # Decoding duplicates vertices at seams, so the announced number is a lower bound.
            return num_faces, num_encoded_vertices
    except EOFError:
        extension.fail("cannot be decoded: it is cut short.")
    extension.fail(f"has Draco encoding method {method}, which does not exist.")


class _Reader:
    """A sequential reader of a Draco header. Raises EOFError past the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if count > len(self.data) - self.position:
            raise EOFError
        self.position += count
        return self.data[self.position - count : self.position]

    def varint(self) -> int:
        """Read an unsigned LEB128 number of at most 64 bits."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise EOFError

    def skip_metadata(self, nesting: int = 0) -> None:
        """Skip entries of a name and a value, then nested metadata in the same form."""
        if nesting > _MAX_NESTING:
            raise EOFError
        for _ in range(self.varint()):
            self.take(self.take(1)[0])
            self.take(self.varint())
        for _ in range(self.varint()):
            self.take(self.take(1)[0])
            self.skip_metadata(nesting + 1)
