"""Materials of Wavefront OBJ files (MTL): colour, texture, opacity and emission."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from gvf.data.mesh import Material
from gvf.data.plain.side_files import SideFiles
from gvf.text import MAX_NAME, clean

MAX_MATERIALS = 4096
PLAIN = Material("default", (0.8, 0.8, 0.8, 1.0), -1, "OPAQUE", 0.5, True, (0.0, 0.0, 0.0))
"""Surface without a material: light grey, drawn from both sides, since such files do not say which one is the outside."""
WHITE = dataclasses.replace(PLAIN, base_color=(1.0, 1.0, 1.0, 1.0))
"""Surface that shows its vertex colours."""

_OPTION_VALUES = {"-mm": 2, "-o": 3, "-s": 3, "-t": 3}  # of texture maps; all others have one value
_TRIPLES = {"-o", "-s", "-t"}  # of which the last two values may be missing


def read_materials(text: str, files: SideFiles) -> dict[str, Material]:
    """Return the materials of a file by name; `texture` and `emissive_texture` are indices into `files.images`.

    Kd and Ke are linear, as Blender writes them. A texture replaces Kd, which many exporters leave at some grey.
    """
    materials: dict[str, Material] = {}
    values: dict[str, str] = {}
    name: str | None = None
    for line in [*text.splitlines(), "newmtl"]:
        key, _, rest = line.strip().partition(" ")
        if key.lower() != "newmtl":
            values.setdefault(key.lower(), rest.strip())
            continue
        if name is not None and len(materials) < MAX_MATERIALS:
            materials[name] = _material(name, values, files)
        name, values = rest.strip(), {}
    return materials


def _material(name: str, values: dict[str, str], files: SideFiles) -> Material:
    red, green, blue = _numbers(values.get("kd", ""), 3) or PLAIN.base_color[:3]
    glow_red, glow_green, glow_blue = _numbers(values.get("ke", ""), 3) or PLAIN.emissive
    opacity = _numbers(values.get("d", "").removeprefix("-halo"), 1)
    if opacity is None and (transparency := _numbers(values.get("tr", ""), 1)) is not None:
        opacity = (1.0 - transparency[0],)
    alpha = opacity[0] if opacity is not None and opacity[0] > 0.0 else 1.0  # an invisible object is a mistake
    texture = _texture(values.get("map_kd", ""), files)
    emissive_texture = _texture(values.get("map_ke", ""), files) if "map_ke" in values else -1
    cut = texture >= 0 and "map_d" in values
    return Material(
        name=clean(name, MAX_NAME),
        base_color=(1.0, 1.0, 1.0, alpha) if texture >= 0 else (red, green, blue, alpha),
        texture=texture,
        alpha_mode="BLEND" if alpha < 1.0 else "MASK" if cut else "OPAQUE",
        alpha_cutoff=0.5,
        double_sided=True,
        emissive=(1.0, 1.0, 1.0) if emissive_texture >= 0 else (glow_red, glow_green, glow_blue),
        emissive_texture=emissive_texture,
    )


def _texture(value: str, files: SideFiles) -> int:
    """Return the index of the image that a map names after its options; -1 where there is none."""
    words = value.split(" ")
    while words and (words[0].startswith("-") or not words[0]):
        option = words.pop(0)
        count = _OPTION_VALUES.get(option, 1) if option else 0
        for position in range(count):
            if words and not (position and option in _TRIPLES and _numbers(words[0], 1) is None):
                words.pop(0)
    name = " ".join(words).strip()
    found = files.image(name) if name else None
    return -1 if found is None else found


def _numbers(text: str, count: int) -> tuple[float, ...] | None:
    """Return that many shares within [0, 1] at the start of a text; a single number stands for all three of a colour."""
    words: Sequence[str] = text.split()
    try:
        values = [float(word) for word in words[:count]]
    except ValueError:
        return None
    if not values or not all(map(math.isfinite, values)):
        return None
    values += values[:1] * (count - len(values))
    return tuple(min(max(value, 0.0), 1.0) for value in values)
