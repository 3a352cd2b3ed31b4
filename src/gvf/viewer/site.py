"""What `gvf view` serves: the folder of an asset or a demo as it was written, or a page around a lone asset file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from gvf.errors import UserError
from gvf.storage.files import read_json
from gvf.text import clean
from gvf.viewer.page import page
from gvf.viewer.server import Site

ASSET, PAGE, MANIFEST = "asset.glb", "index.html", "manifest.json"


def asset_site(path: Path) -> Site:
    """Return the site of an asset folder or of a .glb file. Raises UserError for a path that is neither.

    The folder's own page is shown where there is one, since it holds the input video, too.
    """
    if path.is_file():
        if path.suffix.lower() != ".glb":
            raise UserError(f"{path}: is neither a folder of `gvf generate` nor an {ASSET}.")
        return Site(path.parent, {"": _page(path.name, path.stem, {})}, only=path.name)
    if not path.exists():
        raise UserError(f"{path}: no such folder or file. Name a folder of `gvf generate`, or an {ASSET}.")
    if (path / PAGE).is_file():
        return Site(path, {"": (path / PAGE).read_bytes()})
    if not (path / ASSET).is_file():
        raise UserError(f"{path}: has neither {PAGE} nor {ASSET}. Name a folder that `gvf generate` wrote.")
    facts = read_json(path / MANIFEST) if (path / MANIFEST).is_file() else {}
    return Site(path, {"": _page(ASSET, path.resolve().name, facts if isinstance(facts, dict) else {})})


def _page(name: str, title: str, facts: dict[str, Any]) -> bytes:
    return page(clean(title), facts, asset=quote(name)).encode()
