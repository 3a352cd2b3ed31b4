"""The header of a PLY file, checked before a reader trusts its counts."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from gvf.errors import UserError
from gvf.storage.files import PathLike
from gvf.text import clean

_MAX_HEADER = 1 << 20  # bytes; plyfile reads headers character by character, without a limit


@dataclass
class PlyTable:
    """An element of a PLY file: its number of rows, its properties, and which of them are lists."""

    count: int
    properties: list[str] = field(default_factory=list)
    lists: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class PlyHeader:
    """elements: by name, in file order. comments: their text."""

    elements: dict[str, PlyTable]
    comments: tuple[str, ...]


def read_ply_header(path: PathLike, max_lists: int) -> PlyHeader:
    """Return the elements that a PLY file declares. max_lists: rows of an element with list properties, read one by one.

    Raises UserError when the file cannot be read, is not a PLY file, or declares more rows than it can hold.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_MAX_HEADER)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    if not re.match(rb"ply\s", head):
        raise UserError(f"{path}: not a PLY file.")
    end = re.search(rb"[\r\n]end_header[ \t]*(\r\n|\r|\n)", head)
    if end is None:
        raise UserError(f"{path}: the header of a PLY file without its end; truncated, or not a PLY file.")
    if not head[: end.end()].isascii():
        raise UserError(f"{path}: its header has characters that are not ASCII, as in a comment; remove them.")
    if len(set(re.findall(rb"\r\n|\r|\n", head[: end.end()]))) > 1:
        raise UserError(
            f"{path}: the lines of its header end in different ways; a text editor or a transfer changed it."
        )
    lines = _lines(head[: end.start()])
    elements = _elements(path, lines)
    for name, table in elements.items():
        if table.count * max(len(table.properties), 1) > size - end.end():  # each property takes at least one byte
            raise UserError(
                f"{path}: truncated: {table.count} rows of {len(table.properties)} properties promised by element {name}, "
                f"{size - end.end()} bytes there."
            )
        if table.count and not table.properties:
            raise UserError(f"{path}: its element {name} has {table.count} rows and no property.")
        if table.lists and table.count > max_lists:
            raise UserError(f"{path}: element {name} has {table.count} lists; at most {max_lists} are read.")
    return PlyHeader(elements, tuple(line[8:] for line in lines if line.startswith("comment ")))


def _elements(path: PathLike, lines: list[str]) -> dict[str, PlyTable]:
    elements: dict[str, PlyTable] = {}
    table: PlyTable | None = None
    for line in lines:
        words = line.split()
        if words[:1] == ["element"]:
            if len(words) != 3 or not re.fullmatch(r"\d{1,18}", words[2]):
                raise UserError(
                    f"{path}: '{line}' in its header: must be an element, its name and how many rows it has."
                )
            if words[1] in elements:
                raise UserError(f"{path}: its header has element {words[1]} twice.")
            table = elements[words[1]] = PlyTable(int(words[2]))
        elif words[:1] == ["property"] and table is not None and len(words) > 2:
            if words[-1] in table.properties:
                name = next(name for name, other in elements.items() if other is table)
                raise UserError(f"{path}: its header has property {words[-1]} of element {name} twice.")
            table.properties.append(words[-1])
            if words[1] == "list":
                table.lists.add(words[-1])
    return elements


def _lines(header: bytes) -> list[str]:
    """Return the lines of a header as short, visible text."""
    return [clean(line.decode("ascii", "replace"), 120) for line in re.split(rb"\r\n|\r|\n", header)]
