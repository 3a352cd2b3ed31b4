"""Every declared dependency is imported somewhere, or its line in pyproject.toml says why it is there."""

from __future__ import annotations

import re
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "evaluation", "flows", "benchmarks")


def imported_modules() -> set[str]:
    """Return the top-level names that the project's own code imports."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    pattern = re.compile(r"^\s*(?:import|from) (\w+)", re.MULTILINE)
    return {name for path in files for name in pattern.findall(path.read_text(encoding="utf-8"))}


def unexplained(pyproject: str, imported: set[str]) -> list[str]:
    """Return the dependencies that are neither imported nor followed by a comment."""
    body = pyproject.split("\ndependencies = [\n")[1].split("\n]")[0]
    lines = [re.match(r'\s*"([\w-]+)[^"]*",(.*)', line) for line in body.splitlines()]
    distributions = packages_distributions()
    found = {normalized(package) for module in imported for package in distributions.get(module, ())}
    return [line[1] for line in lines if line and "#" not in line[2] and normalized(line[1]) not in found]


def normalized(package: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def test_every_dependency_is_imported_or_explained() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert unexplained(text, imported_modules()) == []
    assert unexplained(text, imported_modules() - {"click"}) == ["click"]
