"""One HTML page that plays an asset: everything it needs is inside it, or beside it on the same server."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gvf.storage.files import PathLike, atomic_path
from gvf.text import MAX_NAME, clean
from gvf.viewer.bundle import bundle

STATIC = Path(__file__).parent / "static"
FIELD = re.compile(r"\{\{(\w+)\}\}")
_VIDEO_TYPES = ((b"ftyp", 4, "video/mp4"), (b"\x1a\x45\xdf\xa3", 0, "video/webm"))  # by signature and its place


def write_page(
    path: PathLike, asset: bytes, *, title: str, video: bytes | None = None, facts: Mapping[str, Any] | None = None
) -> None:
    """Write a page that plays `asset` (the content of an asset.glb) offline, from a file or from any server.

    video: the input video as mp4 or webm, whose frame i shows at i / frames_per_second. facts: what the page lists under
    "Details"; `camera` in it (azimuth, elevation, radius, fov, shift) is the input's camera.
    """
    text = page(title, facts or {}, asset=asset, video=video)
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def page(title: str, facts: Mapping[str, Any], *, asset: bytes | str, video: bytes | str | None = None) -> str:
    """Return the page's HTML. asset, video: contents to embed, or addresses relative to the page.

    The page's own policy allows its one script and style by their digests, and no address but its own server's.
    """
    script = "\n" + bundle(STATIC, "main")
    style = "\n" + "".join((STATIC / name).read_text(encoding="utf-8") for name in ("colors.css", "style.css"))
    title = clean(title, MAX_NAME)
    settings = {
        "title": title,
        "facts": _plain(facts),
        "asset": asset if isinstance(asset, str) else None,
        "video": video if isinstance(video, str) else None,
    }
    files = [_embedded("asset", asset, "model/gltf-binary")] if isinstance(asset, bytes) else []
    files += [_embedded("input-video", video, _video_type(video))] if isinstance(video, bytes) else []
    fields = {
        "policy": _policy(script, style),
        "title": html.escape(title),
        "style": style,
        "page": json.dumps(settings, allow_nan=False).replace("<", "\\u003c"),
        "files": "\n".join(files),
        "script": script,
    }
    template = (STATIC / "index.html").read_text(encoding="utf-8")
    return FIELD.sub(lambda match: fields[match[1]], template)


def _plain(value: Any) -> Any:
    """Return a fact as JSON can hold it: numbers that are not finite become null, unknown objects their text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _policy(script: str, style: str) -> str:
    """Return the Content-Security-Policy: the script and the style by digest, media of the page itself, nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{digest(script)}'",
            f"style-src '{digest(style)}'",
            "img-src data:",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def digest(text: str) -> str:
    """Return a script or style as a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embedded(name: str, content: bytes, kind: str) -> str:
    data = base64.b64encode(content).decode()
    return f'<script type="application/octet-stream;base64" id="{name}" data-type="{kind}">{data}</script>'


def _video_type(video: bytes) -> str:
    for signature, start, kind in _VIDEO_TYPES:
        if video[start : start + len(signature)] == signature:
            return kind
    return "application/octet-stream"
