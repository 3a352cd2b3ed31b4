"""The bundle of ES modules behaves as the modules do; the forms it does not know are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from gvf.viewer import page
from gvf.viewer.bundle import bundle


def write(folder: Path, **modules: str) -> Path:
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text)
    return folder


def test_imported_modules_come_first_and_once(tmp_path):
    folder = write(
        tmp_path,
        main='import { twice } from "./b.js";\nimport { one as uno } from "./a.js";\nglobalThis.result = twice(uno);\n',
        b='import { one } from "./a.js";\nexport function twice(value) {\n  return value + one;\n}\n',
        a="// A number.\n/**\n * One.\n * Two. */\nexport const one = 1; // kept\nconst other = 2 /* kept */;\n",
    )
    assert bundle(folder, "main") == (
        "const module_a = (() => {\nconst one = 1; // kept\nconst other = 2 /* kept */;\nreturn { one };\n})();\n"
        "const module_b = (() => {\nconst { one } = module_a;\n"
        "function twice(value) {\n  return value + one;\n}\nreturn { twice };\n})();\n"
        "const module_main = (() => {\nconst { twice } = module_b;\nconst { one: uno } = module_a;\n"
        "globalThis.result = twice(uno);\n})();\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        'import a from "./a.js";\n',
        'import * as a from "./a.js";\n',
        'import { a } from "https://example.org/a.js";\n',
        'const a = await import("./a.js");\n',
        "export default 1;\n",
        "export let a = 1;\n",
        'export { a } from "./a.js";\n',
    ],
)
def test_other_forms_are_refused_by_name(tmp_path, text):
    with pytest.raises(ValueError, match=r"main\.js: the bundle does not know"):
        bundle(write(tmp_path, main=text), "main")


def test_circles_and_the_end_of_the_script_are_refused(tmp_path):
    write(tmp_path, a='import { b } from "./b.js";\n', b='import { a } from "./a.js";\n', c='"</SCRIPT>";\n')
    with pytest.raises(ValueError, match=r"a -> b -> a"):
        bundle(tmp_path, "a")
    with pytest.raises(ValueError, match="end the page's script"):
        bundle(tmp_path, "c")


def test_every_module_of_the_player_is_in_its_bundle():
    script = bundle(page.STATIC, "main")
    modules = {path.stem for path in page.STATIC.glob("*.js")}
    assert {name for name in modules if f"const module_{name} = " not in script} == set()
