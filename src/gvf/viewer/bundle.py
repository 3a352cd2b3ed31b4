"""The player's ES modules as one script: pages opened from a file may not import modules."""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function\*?|function\*?|class|const) (\w+))", re.MULTILINE)
_UNKNOWN = re.compile(r"^.*(?:^\s*(?:import|export)\b|\bimport\().*$", re.MULTILINE)
_COMMENT = re.compile(r"^[ ]*(?://.*|/\*\*(?s:.*?)\*/)\n", re.MULTILINE)  # whole lines only
_NAME = re.compile(r"^(\w+)(?: as (\w+))?$")


def bundle(folder: Path, entry: str) -> str:
    """Return the module `entry` of a folder, and all that it imports, as the text of one module without imports.

    Each module becomes a function that returns its exports and is called once, after those it imports. Modules are in
    the order of a depth-first walk of the imports, so the text depends on them alone; comments of whole lines are left
    out. Only the forms that our own modules use are known: `import { a, b as c } from "./module.js";` and `export`
    before a function, class or const. Raises ValueError for anything else, naming the module.
    """
    texts: dict[str, str] = {}
    _collect(folder, entry, (), texts)
    script = "".join(texts.values())
    if "</script" in script.lower() or "<!--" in script:
        raise ValueError(f"{folder}: a module holds text that would end the page's script.")
    return script


def _collect(folder: Path, name: str, importers: tuple[str, ...], texts: dict[str, str]) -> None:
    """Add the wrapped text of a module to `texts`, after those of the modules that it imports."""
    if name in texts:
        return
    if name in importers:
        raise ValueError(f"{name}.js imports itself through {' -> '.join([*importers, name])}.")
    text = _COMMENT.sub("", (folder / f"{name}.js").read_text(encoding="utf-8"))
    for match in _IMPORT.finditer(text):
        _collect(folder, match[2], (*importers, name), texts)
    texts[name] = _wrapped(name, text)


def _wrapped(name: str, text: str) -> str:
    exports = _EXPORT.findall(text)
    text = _EXPORT.sub("", _IMPORT.sub(_constants, text))
    if unknown := _UNKNOWN.search(text):
        raise ValueError(f"{name}.js: the bundle does not know the form of {unknown[0].strip()!r}.")
    returned = f"return {{ {', '.join(exports)} }};\n" if exports else ""
    return f"const {_variable(name)} = (() => {{\n{text}{returned}}})();\n"


def _constants(match: re.Match[str]) -> str:
    """Return the `const` that takes the place of an import."""
    names = []
    for part in filter(None, (part.strip() for part in match[1].split(","))):
        name = _NAME.match(part)
        if name is None:
            return match[0]
        names.append(f"{name[1]}: {name[2]}" if name[2] else name[1])
    return f"const {{ {', '.join(names)} }} = {_variable(match[2])};\n"


def _variable(module: str) -> str:
    return f"module_{module}"
