"""Compare the code dependencies of every DVC stage with what its module imports, and write them.

`python tools/stage_dependencies.py` prints the differences and exits with 1 if there are any; `--write` edits
`dvc.yaml` and `ablations/dvc.yaml`. A stage depends on every file of `src` and `evaluation` that its module reaches
through imports, followed transitively:

- imports inside functions count, those under `if TYPE_CHECKING` do not;
- the `__init__.py` of every package on the way counts if it contains code;
- a data file or folder counts if a reached module names it in a string and it lies beside that module or in the folder
  `templates` beside it; a template also counts if a reached template names it;
- PLUMBING below does not count, nor what is reached through it alone.

A folder stands for its files if all of them are reached. The program reads sources and imports none of them.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

GRAPHS = ("dvc.yaml", "ablations/dvc.yaml")
SOURCES = ("src/gvf", "evaluation/gvf_evaluation")

# What decides no stage's results. Nothing else belongs here.
PLUMBING = (
    "src/gvf/__init__.py",  # the version number
    "src/gvf/config",  # its values are tracked as the stages' `params`
    "src/gvf/workspace.py",  # its paths are the stages' `deps` and `outs`
    "src/gvf/devices.py",  # its choice is tracked as `run.device`
    "src/gvf/errors.py",
    "src/gvf/text.py",
    "src/gvf/lifetime.py",
    "src/gvf/locks.py",
    "src/gvf/tracking",  # logs results
    "src/gvf/execution",  # where clips are processed
    "src/gvf/storage/files.py",  # atomic writing
    "src/gvf/storage/recognition.py",  # refuses damaged files
)


@dataclass(frozen=True)
class Sources:
    """The source files of a checkout and what each of them reaches."""

    root: Path
    _direct: dict[str, set[str]] = field(default_factory=dict, repr=False)

    @cached_property
    def files(self) -> frozenset[str]:
        """Return all source and data files, relative to the root."""
        return frozenset(
            path.relative_to(self.root).as_posix()
            for source in SOURCES
            for path in (self.root / source).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )

    def reached(self, start: str) -> set[str]:
        """Return the files that a module reaches, itself included, without plumbing and packages' empty files."""
        found: set[str] = set()
        waiting = [start]
        while waiting:
            path = waiting.pop()
            if path not in found and not is_plumbing(path):
                found.add(path)
                if path.endswith(".py") or "/templates/" in path:
                    waiting += self.direct(path)
        return {path for path in found if not self.is_empty_package(path)}

    def direct(self, path: str) -> set[str]:
        """Return the files that a module imports or reads by itself, with the packages around it."""
        if path not in self._direct:
            self._direct[path] = self._read(path)
        return self._direct[path]

    def _read(self, path: str) -> set[str]:
        if "/templates/" in path:
            folder, text = path.rpartition("/")[0], (self.root / path).read_text(encoding="utf-8")
            return {f"{folder}/{name}" for name in re.findall(r"""{%.*?["']([^"']+)["'].*?%}""", text)} & self.files
        tree = ast.parse((self.root / path).read_text(encoding="utf-8"))
        home = module_name(path)
        package = home if path.endswith("/__init__.py") else home.rpartition(".")[0]
        found = set(self._packages(home))
        for node in runtime_nodes(tree):
            for name in imported_names(node, package):
                found |= set(self.module(name))
                found |= set(self._packages(name))
            found |= self._data(node, path)
        return found - {path}

    def is_empty_package(self, path: str) -> bool:
        """Return whether a file is an `__init__.py` that runs nothing."""
        if not path.endswith("__init__.py"):
            return False
        body = ast.parse((self.root / path).read_text(encoding="utf-8")).body
        return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)

    def compact(self, files: set[str]) -> list[str]:
        """Return the files sorted, each folder whose files are all among them (or empty packages) in their place."""
        left, folders = set(files), []
        candidates = sorted({str(parent) for file in files for parent in Path(file).parents}, key=len)
        for folder in candidates:
            inside = {file for file in self.files if file.startswith(f"{folder}/")}
            needed = {file for file in inside if not self.is_empty_package(file)}
            if needed and needed <= left and len(needed) > 1 and any(folder.startswith(f"{top}/") for top in SOURCES):
                folders.append(folder)
                left -= inside
        return sorted([*folders, *left])

    def module(self, name: str) -> Iterator[str]:
        """Yield the file of a module, if there is one with this name."""
        for source in SOURCES:
            top = source.rpartition("/")[2]
            if name == top or name.startswith(f"{top}."):
                stem = source + name.removeprefix(top).replace(".", "/")
                yield from (path for path in (f"{stem}.py", f"{stem}/__init__.py") if path in self.files)

    def _packages(self, name: str) -> Iterator[str]:
        """Yield the `__init__.py` of every package around a module."""
        parts = name.split(".")
        for length in range(1, len(parts)):
            yield from self.module(".".join(parts[:length]))

    def _data(self, node: ast.AST, path: str) -> set[str]:
        """Return the data files that a string in a module names."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isprintable() and node.value:
            folder = path.rpartition("/")[0]
            return self._below(f"{folder}/{node.value}") | self._below(f"{folder}/templates/{node.value}")
        return set()

    def _below(self, place: str) -> set[str]:
        """Return a data file, or all data files of a folder of nothing else."""
        files = {file for file in self.files if file == place or file.startswith(f"{place}/")}
        return set() if any(file.endswith(".py") for file in files) else files


def is_plumbing(path: str) -> bool:
    """Return whether a file has no influence on results."""
    return any(path == entry or path.startswith(f"{entry}/") for entry in PLUMBING)


def module_name(path: str) -> str:
    """Return the dotted name of a source file."""
    parts = Path(path).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node of a syntax tree except those for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from (inner for other in node.orelse for inner in (other, *runtime_nodes(other)))
            continue
        yield node
        yield from runtime_nodes(node)


def imported_names(node: ast.AST, package: str) -> list[str]:
    """Return the dotted names that a statement imports; of `from a import b` both `a` and `a.b`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *base.split(".")]).rstrip(".")
        return [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return []


def modules_of(root: Path, name: str, command: str, recipes: dict[str, list[str]]) -> list[str]:
    """Return the files of the modules that a stage's command runs."""
    words = command.split()
    tool = f"evaluation/gvf_evaluation/commands/{words[1].replace('-', '_')}.py"
    is_stage = any((root / f"{source}/stages/{words[1].replace('-', '_')}.py").is_file() for source in SOURCES)
    if (root / tool).is_file() and not is_stage:
        return [tool, *(stage_file(root, stage) for stage in recipes.get(name, []))]
    return [stage_file(root, name)]


def stage_file(root: Path, name: str) -> str:
    """Return the file of the module of a stage."""
    places = [f"{source}/stages/{name.replace('-', '_')}.py" for source in SOURCES]
    return next(path for path in places if (root / path).is_file())


def recipes_of(root: Path) -> dict[str, list[str]]:
    """Return the stages that the ablations of each model run, as `gvf ablate` lists them."""
    tree = ast.parse((root / "evaluation/gvf_evaluation/commands/ablate.py").read_text(encoding="utf-8"))
    table = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Dict)
        and "RECIPES" in {getattr(name, "id", "") for name in ast.walk(node)}
    )
    stages = {path.stem for source in SOURCES for path in (root / source / "stages").glob("*.py")}
    return {
        ast.literal_eval(key): [
            str(node.value).replace("-", "_")
            for node in ast.walk(value)
            if isinstance(node, ast.Constant) and str(node.value).replace("-", "_") in stages
        ]
        for key, value in zip(table.keys, table.values)
        if key is not None
    }


def is_code(dependency: str) -> bool:
    """Return whether this program manages a dependency."""
    return dependency.startswith(("src/", "evaluation/")) or dependency == "evaluation"


def expected(root: Path, graph: str) -> dict[str, list[str]]:
    """Return the code dependencies that each stage of a graph should have."""
    sources, recipes = Sources(root), recipes_of(root)
    stages = yaml.safe_load((root / graph).read_text(encoding="utf-8"))["stages"]
    found = {}
    for name, stage in stages.items():
        files = set().union(*(sources.reached(path) for path in modules_of(root, name, stage["cmd"], recipes)))
        found[name] = sources.compact(files)
    return found


def differences(root: Path, graph: str) -> list[str]:
    """Return one line per dependency that a stage of a graph lacks or does not need."""
    stages = yaml.safe_load((root / graph).read_text(encoding="utf-8"))["stages"]
    lines = []
    for name, wanted in expected(root, graph).items():
        listed = {dependency for dependency in stages[name]["deps"] if is_code(dependency)}
        lines += [f"{graph}: {name} reaches {path}, which is not among its deps" for path in sorted({*wanted} - listed)]
        lines += [f"{graph}: {name} does not need its dep {path}" for path in sorted(listed - {*wanted})]
    return lines


def rewritten(text: str, wanted: dict[str, list[str]]) -> str:
    """Return a graph's text with each stage's code dependencies replaced, after its other ones."""
    lines, stage, in_deps = [], "", False
    for line in [*text.splitlines(), ""]:
        if in_deps and not line.startswith("      "):
            lines += [f"      - {path}" for path in wanted[stage]]
            in_deps = False
        if line.startswith("  ") and line[2] not in " #" and line.rstrip().endswith(":"):
            stage = line.strip().rstrip(":")
        if not (in_deps and is_code(line.strip().removeprefix("- "))):
            lines.append(line)
        in_deps = in_deps or line.rstrip() == "    deps:"
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Check or write both graphs of the current folder; return the exit code."""
    if arguments not in ([], ["--write"]):
        print("Usage: python tools/stage_dependencies.py [--write]", file=sys.stderr)
        return 2
    root = Path()
    if arguments:
        for graph in GRAPHS:
            path = root / graph
            path.write_text(rewritten(path.read_text(encoding="utf-8"), expected(root, graph)), encoding="utf-8")
    lines = [line for graph in GRAPHS for line in differences(root, graph)]
    for line in lines:
        print(line)
    if lines:
        print("Run `python tools/stage_dependencies.py --write`.")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
