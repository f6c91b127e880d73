"""Who imports whom in the package, read from its sources: modules, layers, directions, circles."""

import ast
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("moesaic", "hw", "golden", "compiler", "sim", "boards", "examples")


@dataclass(frozen=True)
class Import:
    """What one line imports; `inner` if it stands in a function, and is done when that is called."""

    name: str
    inner: bool


def sources() -> dict[str, str]:
    """Source of every module of the package by its name."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts if folder == "moesaic" else ("moesaic", *parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def layer_of(module: str) -> str:
    """Folder of a module, or its own name if it lies in `moesaic` itself; `hw.spec` is a layer of its own."""
    parts = module.split(".")[1:]
    return "hw.spec" if parts[:2] == ["hw", "spec"] else parts[0] if parts else ""


@functools.cache
def imports(source: str) -> tuple[Import, ...]:
    """All imports of a module, also those for types alone; `from a import b` imports `a.b`."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    inner = {node for function in functions for node in ast.walk(function)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports must be absolute"
            found += [Import(f"{node.module}.{alias.name}", node in inner) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [Import(alias.name, node in inner) for alias in node.names]
    return tuple(found)


def wrong_ways(modules: Mapping[str, str], allowed: Mapping[str, set[str]]) -> list[str]:
    """Imports of a layer that `allowed` does not name for it."""
    return [
        f"{module} imports {found.name}"
        for module, source in modules.items()
        for found in imports(source)
        if found.name.split(".")[0] == "moesaic"
        and (target := layer_of(found.name)) != (layer := layer_of(module))
        and target not in allowed[layer]
    ]


def inner_imports(modules: Mapping[str, str]) -> set[tuple[str, str]]:
    """Imports that stand in functions: (module, what it imports)."""
    return {(module, found.name) for module, source in modules.items() for found in imports(source) if found.inner}


def circles(modules: Mapping[str, str]) -> list[list[str]]:
    """Groups of modules of which each imports, in the end, each other (Tarjan's strongly connected components)."""
    edges = {
        module: {
            name
            for found in imports(source)
            for name in (found.name, found.name.rpartition(".")[0])
            if name in modules and name != module and not module.startswith(f"{name}.")
        }
        for module, source in modules.items()
    }
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    result = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in sorted(edges[module]):
            if other not in number:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], number[other])
        if low[module] == number[module]:
            position = stack.index(module)
            group = sorted(stack[position:])
            del stack[position:]
            if len(group) > 1:
                result.append(group)

    for module in sorted(edges):
        if module not in number:
            visit(module)
    return result
