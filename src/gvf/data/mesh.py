"""An animated triangle mesh with its materials and textures: a clip whose animation has been evaluated."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gvf.errors import ClipError
from gvf.storage.files import PathLike, load_npz, save_npz
from gvf.storage.images import read_rgba

ALPHA_MODES = ("OPAQUE", "MASK", "BLEND")
WRAP_MODES = ("REPEAT", "CLAMP_TO_EDGE", "MIRRORED_REPEAT")


@dataclass(frozen=True)
class Material:
    """Appearance of some faces.

    base_color: linear RGBA, multiplies texture and vertex colour. texture: index into AnimatedMesh.textures or -1.
    alpha_mode: OPAQUE ignores alpha, MASK cuts below alpha_cutoff, BLEND is as transparent as alpha says.
    double_sided: whether back faces (clockwise winding) are drawn; otherwise they are culled.
    emissive: linear RGB added regardless of lighting, multiplied by emissive_texture where that is not -1. unlit: the
    base colour is shown without lighting. wrap, emissive_wrap: wrap modes of the textures along u and v.
    """

    name: str
    base_color: tuple[float, float, float, float]
    texture: int
    alpha_mode: str
    alpha_cutoff: float
    double_sided: bool
    emissive: tuple[float, float, float]
    wrap: tuple[str, str] = ("REPEAT", "REPEAT")
    unlit: bool = False
    emissive_texture: int = -1
    emissive_wrap: tuple[str, str] = ("REPEAT", "REPEAT")


@dataclass(frozen=True)
class AnimatedMesh:
    """A mesh whose vertices move over T frames while its faces stay the same.

    vertices: [T, V, 3] float64 in the file's own units, or float32 once normalized. faces: [F, 3] int32.
    face_materials: [F] int32, index into materials. uvs: [V, 2] float32, glTF convention (v downwards), already
    transformed. colors: [V, 4] float32, linear, ones when the file has none. textures: uint8 [H, W, 4] sRGB.
    times: [T] float32 seconds, as in the file.
    points: [T, N, 3] float32, the same N surface points in every frame; None unless sampled (curated clips are).
    emissive_uvs: [V, 2] float32, texture coordinates of emissive textures; None where they are `uvs`, as in most files.
    """

    vertices: np.ndarray
    faces: np.ndarray
    face_materials: np.ndarray
    uvs: np.ndarray
    colors: np.ndarray
    materials: tuple[Material, ...]
    textures: tuple[np.ndarray, ...]
    times: np.ndarray
    points: np.ndarray | None = None
    emissive_uvs: np.ndarray | None = None

    @property
    def num_frames(self) -> int:
        """Return T."""
        return len(self.vertices)

    @property
    def double_sided(self) -> np.ndarray:
        """Return whether the back of each face is drawn too, [F] bool."""
        return np.array([material.double_sided for material in self.materials])[self.face_materials]

    def normalized(self) -> AnimatedMesh:
        """Convert from glTF's y-up axes to z up, centre, and scale the bounding box over all frames to longest side 1.

        (x, y, z) becomes (x, -z, y). Vertices are centred in float64 and returned as float32. Raises ClipError("invalid")
        when the whole animation is a single point.
        """
        if self.points is not None:
            raise ValueError("normalize before sampling points")
        turned = self.vertices[..., [0, 2, 1]].astype(np.float64) * (1.0, -1.0, 1.0)
        low, high = turned.min(axis=(0, 1)), turned.max(axis=(0, 1))
        side = float((high - low).max())
        if side <= 0.0:
            raise ClipError("invalid", "all vertices are in one place, so there is nothing to render.")
        unit = ((turned - (low + high) / 2.0) / side).astype(np.float32)
        return dataclasses.replace(self, vertices=np.clip(unit, -0.5, 0.5))

    def save(self, path: PathLike, encoded_textures: Mapping[int, bytes] | None = None) -> None:
        """Write an npz with textures as PNG bytes. encoded_textures: these bytes by index, if they are already known."""
        arrays = {
            "vertices": self.vertices,
            "faces": self.faces,
            "face_materials": self.face_materials,
            "uvs": self.uvs,
            "colors": self.colors,
            "times": self.times,
            "materials": np.array(json.dumps([dataclasses.asdict(material) for material in self.materials])),
        }
        for i, texture in enumerate(self.textures):
            png = encoded_textures[i] if encoded_textures else encode_png(texture)
            arrays[f"texture_{i}"] = np.frombuffer(png, np.uint8)
        if self.points is not None:
            arrays["points"] = self.points
        if self.emissive_uvs is not None:
            arrays["emissive_uvs"] = self.emissive_uvs
        save_npz(path, **arrays)

    @classmethod
    def load(cls, path: PathLike) -> AnimatedMesh:
        """Read what `save` wrote. Raises UserError when the file is missing or broken."""
        arrays = load_npz(path)
        materials = json.loads(str(arrays["materials"]))
        textures: list[np.ndarray] = []
        while f"texture_{len(textures)}" in arrays:
            name = f"texture_{len(textures)}"
            textures.append(read_rgba(arrays[name].tobytes(), f"{path}: {name}"))
        return cls(
            vertices=arrays["vertices"],
            faces=arrays["faces"],
            face_materials=arrays["face_materials"],
            uvs=arrays["uvs"],
            colors=arrays["colors"],
            materials=tuple(_material(values) for values in materials),
            textures=tuple(textures),
            times=arrays["times"],
            points=arrays.get("points"),
            emissive_uvs=arrays.get("emissive_uvs"),
        )


def encode_png(image: np.ndarray) -> bytes:
    """Return an image [H, W, 4] uint8 as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def reduced(image: np.ndarray, longest: int) -> np.ndarray:
    """Scale an image [H, W, 4] uint8 down so that its longer side is at most `longest`."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1.0:
        return image
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _material(values: Mapping[str, object]) -> Material:
    fixed = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return Material(**fixed)  # type: ignore[arg-type]
