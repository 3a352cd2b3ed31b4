"""A page that shows several pages of the player beside each other, each with what it shows and the command that makes it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from gvf.storage.files import PathLike, atomic_path
from gvf.text import MAX_NAME, clean
from gvf.viewer.page import FIELD, STATIC, digest


@dataclass(frozen=True)
class Exhibit:
    """One player. text: below the title. command: that makes the asset. address: of the player's page, relative to the gallery.

    Without an address, the text says why there is nothing to play, and the command is not shown.
    """

    title: str
    text: str
    command: str
    address: str | None


def write_gallery(path: PathLike, title: str, text: str, exhibits: Sequence[Exhibit]) -> None:
    """Write the page. Its policy allows its style by digest and frames of the folder that it lies in, and no script."""
    style = "\n" + "".join((STATIC / name).read_text(encoding="utf-8") for name in ("colors.css", "gallery.css"))
    fields = {
        "policy": f"default-src 'none'; style-src '{digest(style)}'; img-src data:; frame-src 'self'; form-action 'none'",
        "title": html.escape(clean(title, MAX_NAME)),
        "text": html.escape(clean(text)),
        "style": style,
        "exhibits": "\n".join(map(_section, exhibits)),
    }
    template = (STATIC / "gallery.html").read_text(encoding="utf-8")
    with atomic_path(path) as partial:
        partial.write_text(FIELD.sub(lambda match: fields[match[1]], template), encoding="utf-8")


def _section(exhibit: Exhibit) -> str:
    title, text, command = (html.escape(clean(value)) for value in (exhibit.title, exhibit.text, exhibit.command))
    lines = [f"<h2>{title}</h2>", f"<p>{text}</p>"]
    if exhibit.address is not None:
        address = html.escape(exhibit.address)
        lines += [
            f"<pre><code>{command}</code></pre>",
            f'<iframe src="{address}" title="{title}" allow="fullscreen"></iframe>',
            f'<p><a href="{address}">Open it alone</a></p>',
        ]
    return "<section>\n" + "\n".join(lines) + "\n</section>"
