"""The import directions, the list of packages and the list of dependencies, each as a test."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# modules of `moesaic` that every layer may import
GROUND = {"cache", "children", "errors", "images", "json_file", "names", "schema", "scratch", "store"}
ALLOWED = {  # layer -> what it may import besides itself; "hw.spec" is the leaf that all may import
    "hw.spec": set(),
    "golden": {"hw.spec"},
    "hw": {"hw.spec"},
    "compiler": {"golden", "hw.spec"},
    "sim": {"golden", "hw", "hw.spec", "compiler", "boards"},  # boards: its driver, the same that runs on the board
    "boards": {"hw", "hw.spec", "compiler"},
    "examples": {"boards", "sim"},  # sim: only where there is no board
}
FOREIGN = {  # layer -> third-party modules that it may import; None: any that is declared
    "hw.spec": set(),
    "hw": {"amaranth"},
    "golden": None,
    "compiler": None,
    "sim": None,
    "boards": None,
    "examples": {"numpy"},
}
DISTRIBUTION = {"PIL": "pillow"}  # module -> distribution, where the names differ


def layer_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return "hw.spec" if parts[:2] == ("hw", "spec") else parts[0]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports must be absolute"
            # `from moesaic.hw import spec` imports moesaic.hw.spec
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def sources() -> Iterator[tuple[str, Path]]:
    for layer in sorted({name.split(".")[0] for name in ALLOWED}):
        for path in sorted((ROOT / layer).rglob("*.py")):
            yield layer_of(path), path


def test_import_direction() -> None:
    bad = []
    for layer, path in sources():
        for name in imports(path):
            part = name.split(".")
            if part[0] != "moesaic":
                continue
            target = "hw.spec" if part[1:3] == ["hw", "spec"] else part[1]
            if target != layer and target not in ALLOWED[layer] | (GROUND if layer != "hw.spec" else set()):
                bad.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not bad, "\n".join(bad)


def test_foreign_imports() -> None:
    declared = {
        re.match(r"[\w-]+", text)[0].lower().replace("-", "_")
        for text in [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["synth"]]
    } | {"cocotb_tools"}  # a part of cocotb
    bad = []
    for layer, path in [*sources(), *(("moesaic", path) for path in sorted((ROOT / "moesaic").rglob("*.py")))]:
        allowed = FOREIGN.get(layer)
        for name in imports(path):
            module = name.split(".")[0]
            if module in sys.stdlib_module_names or module == "moesaic":
                continue
            if DISTRIBUTION.get(module, module) not in declared or (allowed is not None and module not in allowed):
                bad.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not bad, "\n".join(bad)


def test_every_package_is_listed() -> None:
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    found = {
        ".".join(("moesaic", *path.parent.relative_to(ROOT).parts)).replace("moesaic.moesaic", "moesaic")
        for layer in {"moesaic"} | {name.split(".")[0] for name in ALLOWED}
        for path in (ROOT / layer).rglob("__init__.py")
    }
    assert listed == found


def test_no_simulator_folder_hides_a_package() -> None:
    # tests/cocotb is on the search path: a folder beside its modules would hide the real package of that name.
    assert not (ROOT / "tests" / "cocotb" / "__init__.py").exists()


def test_static_tools_see_every_module() -> None:
    # mypy follows these links, not the import hook of an editable install.
    links = ROOT / ".links" / "moesaic"
    wanted = {path.name for path in (ROOT / "moesaic").glob("*.py")} | {
        path.parent.name for path in (*ROOT.glob("*/__init__.py"), *ROOT.glob("moesaic/*/__init__.py"))
    } - {"moesaic"}
    assert {path.name for path in links.iterdir() if path.name != "py.typed"} == wanted
