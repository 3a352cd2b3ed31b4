"""Fill the markers of the documentation's pages with tables and included files, as a hook of MkDocs.

A marker is a comment on a line of its own, `<!-- fill: NAME -->`, where NAME is a key of `FILLINGS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parent.parent
PRESETS = ("cpu", "small", "h100", "paper")

_MARKER = re.compile(r"^<!-- fill: (.+?) -->$", re.MULTILINE)
_KEY = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?P<value>.*?)(?: # (?P<comment>.*))?$")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every marker of a page; MkDocs calls this for each page."""
    return _MARKER.sub(lambda match: FILLINGS[match[1]](), markdown)


def commands() -> str:
    """Return one table per section of `gvf --help`, from the command line's own tables."""
    from gvf.cli import main

    help_text = _HelpTables()
    main._gvf.format_commands(click.Context(main._gvf), help_text)
    return "\n".join(help_text.parts)


class _HelpTables(click.HelpFormatter):
    """Collects the sections of a command's help as Markdown tables."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def write_heading(self, heading: str) -> None:
        self.parts.append(f"**{heading}**\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        cells = [(f"`gvf {name}`", text) for name, text in rows]
        self.parts.append(table(("command", "what it does"), cells) + "\n")


def parameters() -> str:
    """Return one table per section of params.yaml: every key with its meaning and its value in each preset."""
    from gvf.config.preset import load_preset

    presets = [dict(flatten(load_preset(name, ROOT))) for name in PRESETS]
    meanings, notes = descriptions(), comments(ROOT / "conf" / "preset" / f"{PRESETS[0]}.yaml")
    sections: dict[str, list[tuple[str, ...]]] = {}
    for key in dict.fromkeys(key for preset in presets for key in preset):
        section, _, rest = key.partition(".")
        values = [code(preset[key]) if key in preset else "" for preset in presets]
        note = f"*{notes[key]}*" if key in notes else ""
        sections.setdefault(section, []).append((f"`{rest}`", *values, f"{meanings.get(key, '')} {note}".strip()))
    header = ("key", *PRESETS, "meaning")
    return "\n".join(
        f"### {section}\n\n{meanings.get(section, '')}\n\n{table(header, rows)}\n" for section, rows in sections.items()
    )


def descriptions() -> dict[str, str]:
    """Return what the config models say about every section and field, by dotted key."""
    from pydantic import TypeAdapter

    from gvf.config.params import Params

    schema = TypeAdapter(Params).json_schema()
    found: dict[str, str] = {}

    def collect(node: Mapping[str, Any], prefix: str) -> None:
        for name, field in node.get("properties", {}).items():
            key = f"{prefix}.{name}" if prefix else name
            for option in (field, *field.get("anyOf", ())):
                if "$ref" in option:
                    target = schema["$defs"][option["$ref"].rpartition("/")[2]]
                    found.setdefault(key, target.get("description", ""))
                    collect(target, key)
            if "description" in field:
                found[key] = field["description"]

    collect(schema, "")
    return {key: " ".join(text.split()) for key, text in found.items()}


def metrics() -> str:
    """Return the table of metrics, from the table that scoring and the report read."""
    from gvf.metrics.table import METRICS

    rows = [
        (
            f"`{name}`",
            f"{metric.title}, {metric.unit}" if metric.unit else metric.title,
            "higher" if metric.higher_is_better else "lower",
            metric.basis,
            "yes" if metric.weights else "no",
            metric.definition,
        )
        for name, metric in METRICS.items()
    ]
    return table(("name", "title", "better", "compares", "needs weights", "definition"), rows)


def data_sources() -> str:
    """Return one table per file of conf/data: the keys it sets, their values, and its comments."""
    import yaml

    parts = []
    for path in sorted((ROOT / "conf" / "data").glob("*.yaml")):
        notes = comments(path)
        values = flatten(yaml.safe_load(path.read_text(encoding="utf-8")))
        rows = [(f"`{key}`", code(value), notes.get(key, "")) for key, value in values]
        parts.append(f"### data={path.stem}\n\n{table(('key', 'value', 'comment'), rows)}\n")
    return "\n".join(parts)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested mappings with its dotted key."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def comments(path: Path) -> dict[str, str]:
    """Return the comments at the ends of a YAML file's lines by dotted key."""
    found: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if (match := _KEY.match(line)) is None:
            continue
        indent = len(match["indent"])
        parents = [*(parent for parent in parents if parent[0] < indent), (indent, match["key"])]
        if match["comment"]:
            found[".".join(name for _, name in parents)] = match["comment"]
    return found


def code(value: Any) -> str:
    """Return a value as inline code, in the way YAML writes it."""
    if isinstance(value, list):
        return ", ".join(code(item) for item in value)
    words = {None: "null", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else str(value)
    return f"`{text}`"


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def included(name: str) -> str:
    """Return a Markdown file of the root with its links rewritten for a page in docs/."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\]\((CONTRIBUTING|CHANGELOG)\.md", lambda match: f"]({match[1].lower()}.md", text)


FILLINGS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "parameters": parameters,
    "data sources": data_sources,
    "metrics": metrics,
    "CONTRIBUTING.md": lambda: included("CONTRIBUTING.md"),
    "CHANGELOG.md": lambda: included("CHANGELOG.md"),
}
