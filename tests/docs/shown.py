"""What README, CONTRIBUTING and docs/ show: fenced blocks, commands in them, and inline code."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_SEPARATORS = {";", "&&", "||", "|", "&"}


@dataclass(frozen=True)
class Command:
    """One command of a page. words: as the shell splits it."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def blocks(page: Path, language: str) -> list[str]:
    """Return the contents of a page's fenced blocks of one language."""
    return [content for name, content in _FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


def commands() -> list[Command]:
    """Return every command of every shell block, and every `gvf` or `make` command in inline code."""
    found = []
    for page in PAGES:
        lines = [line for block in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
        lines += [code for code in inline_code(page) if code.split()[0] in ("gvf", "make") and len(code.split()) > 1]
        for line in lines:
            found += [Command(page.name, words) for words in split(line)]
    return list(dict.fromkeys(found))


def inline_code(page: Path) -> list[str]:
    """Return a page's inline code, outside fenced blocks."""
    return _INLINE.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))


def split(line: str) -> list[tuple[str, ...]]:
    """Split a line of a shell block into its commands, without comments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        if word in _SEPARATORS:
            parts.append([])
        else:
            parts[-1].append(word)
    return [tuple(words) for words in parts if words]
