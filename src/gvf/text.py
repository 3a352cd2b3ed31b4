"""Text from outside (files, libraries) made fit for names, table cells and messages."""

from __future__ import annotations

import re
import unicodedata

MAX_MESSAGE = 500
"""Length of a stored message, characters."""
MAX_NAME = 120
"""Length of a name taken from a file, characters."""

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, formatting, surrogates, unassigned, line separators


def clean(text: str, limit: int = MAX_MESSAGE) -> str:
    """One line of visible characters, at most `limit` of them; equal causes give equal text in every run.

    Runs of white space and control characters become one space, lone surrogates U+FFFD, invisible formatting
    characters vanish, memory addresses read `0x...`, and what is too long ends in an ellipsis.
    """
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    visible = "".join(_visible(character) for character in paired)
    line = _ADDRESS.sub("0x...", " ".join(visible.split()))
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category not in _UNSEEN:
        return character
    return " " if category in ("Cc", "Zl", "Zp") else "" if category == "Cf" else "\N{REPLACEMENT CHARACTER}"
