"""The import directions, the list of packages and the list of dependencies, each as a test."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from importgraph import FOLDERS, circles, imports, inner_imports, layer_of, sources, wrong_ways

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Modules of `moesaic` that every layer but hw.spec may import; "" is the package itself.
GROUND = {
    "",
    "cache",
    "children",
    "errors",
    "images",
    "json_file",
    "names",
    "records",
    "schema",
    "scratch",
    "shared_store",
    "store",
}
MODELS = {"golden", "hw", "hw.spec", "compiler", "sim", "boards", "energy"}
ALLOWED = {  # layer -> what it may import besides itself
    "hw.spec": set(),
    "golden": {"hw.spec"} | GROUND,
    "hw": {"hw.spec"} | GROUND,
    "compiler": {"golden", "hw.spec"} | GROUND,
    "boards": {"hw", "hw.spec", "compiler"} | GROUND,
    "sim": {"golden", "hw", "hw.spec", "compiler", "boards"} | GROUND,  # boards: the driver that runs on the board
    "examples": {"boards", "sim"} | GROUND,  # sim: only where there is no board
    "energy": {"compiler", "hw.spec"} | GROUND,
    "flow": MODELS | GROUND,  # up to the outcomes of a run; it draws nothing
    "report": MODELS | {"flow", "terminal"} | GROUND,  # made from outcomes
    "job": {"flow", "report"} | GROUND,  # joins them
    "api": MODELS | {"flow", "report", "job"} | GROUND,  # the same for Python
    "commands": MODELS | {"flow", "report", "job", "terminal", "problems"} | GROUND,
    "cli": {"commands", "terminal"} | GROUND,
    "__main__": {"cli"},
    # The ground: each by itself, so that it has an order too.
    "": set(),
    "errors": set(),
    "scratch": set(),
    "leash": set(),
    "children": {""},
    "cache": {"errors"},
    "images": {"errors"},
    "json_file": {"errors"},
    "names": {"errors"},
    "problems": {"errors"},
    "records": {"schema"},
    "schema": {"names"},
    "shared_store": {"errors", "scratch", "store"},
    "store": {"cache", "scratch"},
    "terminal": {"cache"},
}
INNER = {  # imports in functions, outside the commands, which import late so that `--help` is quick -> why
    ("moesaic.boards.synthesis.worker", "pyosys.libyosys"): "only the process that synthesises has Yosys in it",
    ("moesaic.examples.run_image", "moesaic.sim.device.open_simulated"): "a board has no simulator",
    ("moesaic.examples.video_stream", "moesaic.sim.device.open_simulated"): "a board has no simulator",
    ("moesaic.flow.verify.mutator", "pyosys.libyosys"): "only the process that mutates has Yosys in it",
    ("moesaic.flow.verify.passes", "pyosys.libyosys"): "only the process that runs passes has Yosys in it",
    ("moesaic.flow.request", "moesaic.golden.importers.open.open_model"): (
        "torch takes seconds, which a mistyped option of a built-in model need not wait for"
    ),
    ("moesaic.flow.runner", "moesaic.flow.cluster.connect.connected"): "Dask is there only if it was asked for",
    ("moesaic.flow.runner", "moesaic.flow.cluster.runner.DaskRunner"): "the same",
    ("moesaic.images", "PIL.Image"): "the host runtime on a board reads arrays without Pillow",
    ("moesaic.images", "PIL.ImageOps"): "the same",
    ("moesaic.images", "PIL.UnidentifiedImageError"): "the same",
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
DISTRIBUTION = {"PIL": "pillow", "pynvml": "nvidia_ml_py"}  # module -> distribution, where the names differ


MODULES = sources()


def test_import_direction() -> None:
    assert {layer_of(module) for module in MODULES} == ALLOWED.keys()
    bad = wrong_ways(MODULES, ALLOWED)
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("layer", sorted(ALLOWED))
def test_a_planted_import_is_found(layer: str) -> None:
    """Of every layer that a layer may not import, in a function or not."""
    module = f"moesaic.{layer}.planted" if layer in FOLDERS or "." in layer else f"moesaic.{layer}".rstrip(".")
    assert layer_of(module) == layer
    for target in sorted(ALLOWED.keys() - ALLOWED[layer] - {layer}):
        name = f"moesaic.{target}".rstrip(".")
        for line in (f"import {name}", f"def f():\n    import {name}"):
            assert wrong_ways({module: line}, ALLOWED) == [f"{module} imports {name}"]
    assert not wrong_ways({module: "import os"}, ALLOWED)


def test_imports_in_functions_have_a_reason() -> None:
    found = {(module, name) for module, name in inner_imports(MODULES) if layer_of(module) != "commands"}
    assert found == INNER.keys()


def test_a_planted_import_in_a_function_is_found() -> None:
    planted = {
        "moesaic.flow.a": "import os\n\n\nclass A:\n    def f(self):\n        from moesaic.report import html\n",
        "moesaic.flow.b": "from moesaic.golden import config\n",
    }
    assert inner_imports(planted) == {("moesaic.flow.a", "moesaic.report.html")}


def test_no_circles() -> None:
    assert circles(MODULES) == []


def test_a_planted_circle_is_found() -> None:
    planted = {
        "moesaic.flow.a": "from moesaic.flow import b",
        "moesaic.flow.b": "from moesaic.flow.c import thing",
        "moesaic.flow.c": "def f():\n    from moesaic.flow.a import other",
        "moesaic.flow.d": "from moesaic.flow import a",
    }
    assert circles(planted) == [["moesaic.flow.a", "moesaic.flow.b", "moesaic.flow.c"]]
    typed = {
        "moesaic.flow.a": "if TYPE_CHECKING:\n    from moesaic.flow.b import B",
        "moesaic.flow.b": "import moesaic.flow.a",
    }
    assert circles(typed) == [["moesaic.flow.a", "moesaic.flow.b"]]


def undeclared(module: str, source: str, declared: set[str]) -> list[str]:
    """Imports of others' modules that the project does not declare, or this layer may not have."""
    allowed = FOREIGN.get(layer_of(module))
    roots = {found.name.split(".")[0] for found in imports(source)} - set(sys.stdlib_module_names) - {"moesaic"}
    return [
        f"{module} imports {root}"
        for root in sorted(roots)
        if DISTRIBUTION.get(root, root) not in declared or (allowed is not None and root not in allowed)
    ]


def test_foreign_imports() -> None:
    declared = {
        re.match(r"[\w-]+", text)[0].lower().replace("-", "_")
        for text in [
            *PROJECT["project"]["dependencies"],
            *(
                text
                for extra in ("synth", "baseline", "cluster")
                for text in PROJECT["project"]["optional-dependencies"][extra]
            ),
        ]
    } | {"cocotb_tools"}  # a part of cocotb
    bad = [line for module, source in MODULES.items() for line in undeclared(module, source, declared)]
    assert not bad, "\n".join(bad)
    assert undeclared("moesaic.hw.a", "import os, numpy, amaranth", declared) == ["moesaic.hw.a imports numpy"]
    assert undeclared("moesaic.flow.a", "import numpy, pandas", declared) == ["moesaic.flow.a imports pandas"]


def test_every_package_is_listed() -> None:
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    found = {
        ".".join(("moesaic", *path.parent.relative_to(ROOT).parts)).replace("moesaic.moesaic", "moesaic")
        for layer in FOLDERS
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
