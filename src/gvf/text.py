"""Clean text from files and libraries for use in names, table cells and messages."""

from __future__ import annotations

import re
import unicodedata

MAX_MESSAGE = 500
"""Largest length of a stored message, in characters."""
MAX_NAME = 120
"""Largest length of a name taken from a file, in characters."""

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, formatting, surrogates, unassigned, line separators


def clean(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return `text` as one line of at most `limit` visible characters, the same in every run.

    Runs of white space and control characters become one space and lone surrogates U+FFFD; invisible formatting
    characters are removed, memory addresses become `0x...`, and text that is too long ends in an ellipsis.
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
