"""Files that a mesh file names, such as materials and textures: regular ones in its own folder, and no others."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath

from gvf.errors import UserError
from gvf.storage.images import image_size
from gvf.text import clean

MAX_TEXT = 1 << 24
"""Largest file of materials that is read, in bytes."""
MAX_IMAGE = 1 << 28
"""Largest encoded texture that is read, in bytes."""
_SHOWN = 80


class SideFiles:
    """Finds files in the folder of a mesh file, by the names in it. warnings: what could not be used, for people."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.parent.resolve()
        self._images: dict[str, int | None] = {}
        self.images: list[bytes] = []
        self.warnings: list[str] = []

    def text(self, name: str) -> str | None:
        """Return the text of a file; None, with a warning, where it cannot be read."""
        content = self._content(name, MAX_TEXT, "its materials are left out")
        return None if content is None else content.decode("utf-8", "replace")

    def image(self, name: str) -> int | None:
        """Return the index in `images` of a PNG, JPEG or WebP file; None, with a warning, where it cannot be used."""
        if name not in self._images:
            self._images[name] = None
            content = self._content(name, MAX_IMAGE, "the texture is left out")
            if content is not None:
                try:
                    image_size(content, clean(name, _SHOWN))
                    self.images.append(content)
                    self._images[name] = len(self.images) - 1
                except UserError as error:
                    self._warn(f"the texture is left out: {error}")
        return self._images[name]

    def _content(self, name: str, limit: int, otherwise: str) -> bytes | None:
        found = self._find(name)
        shown = clean(name, _SHOWN)
        try:
            if found is None:
                self._warn(
                    f"there is no file {shown!r} in its folder, so {otherwise}. Put it beside {self._path.name}."
                )
            elif found.stat().st_size > limit:
                self._warn(f"{shown!r} is larger than {limit >> 20} MiB, so {otherwise}.")
            else:
                return found.read_bytes()
        except OSError as error:
            self._warn(f"{shown!r} cannot be read ({error.strerror}), so {otherwise}.")
        return None

    def _find(self, name: str) -> Path | None:
        """Return the regular file of that relative path in the folder, or else one of the same name beside the mesh.

        Names written on other machines are often absolute there; links must not lead out of the folder.
        """
        relative = PurePosixPath(name.replace("\\", "/").strip().strip('"'))
        for candidate in (relative, PurePosixPath(relative.name)):
            if not candidate.name or candidate.is_absolute() or "\0" in name:
                continue
            try:
                real = (self._folder / candidate).resolve()
                if real.is_relative_to(self._folder) and stat.S_ISREG(real.stat().st_mode):
                    return real
            except (OSError, RuntimeError, ValueError):  # missing, a link to itself, no valid name
                continue
        return None

    def _warn(self, message: str) -> None:
        self.warnings.append(f"{self._path.name}: {message}")
