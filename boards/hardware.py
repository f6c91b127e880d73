"""The state of the hardware that counts of it belong to: what its sources say, not how they are written."""

import ast
import functools
import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

import moesaic.hw

__all__ = ["hardware_digest", "meaning"]

# Where a value is read or written, and what only some versions of Python put into a tree.
_LEFT_OUT = ("ctx", "kind", "type_comment", "type_ignores", "type_params")


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return body[1:] if text else body


def _shape(node: object) -> object:
    if isinstance(node, list):
        return [_shape(part) for part in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if name not in _LEFT_OUT and value not in (None, [])}
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        fields["body"] = _without_docstring(node.body)
    return [type(node).__name__, *((name, _shape(value)) for name, value in fields.items())]


def meaning(source: str) -> str:
    """Digest of a module's code; comments, docstrings and formatting do not change it."""
    return hashlib.sha256(repr(_shape(ast.parse(source))).encode()).hexdigest()


def _modules(folder: Traversable, prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _modules(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            found.append((prefix + entry.name, meaning(entry.read_text(encoding="utf-8"))))
    return found


@functools.cache
def hardware_digest() -> str:
    """Digest of all modules of `moesaic.hw`."""
    return hashlib.sha256(repr(_modules(resources.files(moesaic.hw))).encode()).hexdigest()[:32]
