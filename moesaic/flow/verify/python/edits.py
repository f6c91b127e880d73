"""Changes of a module's source, one at a time: operators, constants, conditions, slices, arguments, statements."""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Edit", "Mutated", "edits", "mutated"]

_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}
# Types, which nothing runs by; decorators; texts, which are for people.
_LEFT_OUT = {"annotation", "returns", "decorator_list", "bases", "msg", "type_params"}
_SPECIAL = ("__all__", "__slots__")
_AROUND, _LONGEST = 60, 150  # characters of a shown line


@dataclass(frozen=True)
class Edit:
    """A change that can be made to a tree.

    Parameters
    ----------
    statement : ast.stmt
        The one that it is in.
    apply : callable
        Makes it, in place.
    removes : bool
        The statement itself goes.
    """

    statement: ast.stmt
    apply: Callable[[], None]
    removes: bool = False


@dataclass(frozen=True)
class Mutated:
    """A module with one change.

    Parameters
    ----------
    tree : ast.Module
    line : int
    what : str
        Before and after.
    """

    tree: ast.Module
    line: int
    what: str


def _docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _stored(body: list[ast.stmt]) -> dict[str, int]:
    """How often names are given a value."""
    found: dict[str, int] = {}
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found[node.id] = found.get(node.id, 0) + 1
    return found


class _Finder:
    """All edits of a tree, in the order of its nodes."""

    def __init__(self, tree: ast.Module) -> None:
        self.edits: list[Edit] = []
        self.stored: dict[str, int] = {}
        self._body(tree.body)

    def _body(self, body: list[ast.stmt]) -> None:
        for place, statement in enumerate(body):
            self._statement(body, place, statement)

    def _statement(self, body: list[ast.stmt], place: int, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal) or _docstring(statement):
            return
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            return
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id in _SPECIAL for target in targets):
            return
        if self._removable(statement):

            def remove() -> None:
                body[place] = ast.copy_location(ast.Pass(), statement)

            self.edits.append(Edit(statement, remove, removes=True))
        if isinstance(statement, ast.Raise):
            return
        for apply in _changes(statement, _placer(body, place)):
            self.edits.append(Edit(statement, apply))
        outer = self.stored
        if isinstance(statement, ast.FunctionDef):
            self.stored = _stored(statement.body)
        self._children(statement, statement)
        self.stored = outer

    def _removable(self, statement: ast.stmt) -> bool:
        """Statements whose lack is no missing name."""
        if isinstance(statement, ast.Expr):
            return isinstance(statement.value, ast.Call)
        if isinstance(statement, ast.Assign):
            return all(
                self.stored.get(target.id, 0) > 1
                if isinstance(target, ast.Name)
                else isinstance(target, ast.Attribute | ast.Subscript)
                for target in statement.targets
            )
        return isinstance(statement, ast.AugAssign | ast.Raise | ast.Break | ast.Continue)

    def _children(self, node: ast.AST, statement: ast.stmt) -> None:
        for name, value in ast.iter_fields(node):
            if name in _LEFT_OUT or isinstance(value, ast.JoinedStr):
                continue
            if isinstance(value, ast.AST):
                self._node(value, statement, _setter(node, name))
            elif isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self._body(value)
            elif isinstance(value, list):
                for place, item in enumerate(value):
                    if isinstance(item, ast.AST) and not isinstance(item, ast.JoinedStr):
                        self._node(item, statement, _placer(value, place))

    def _node(self, node: ast.AST, statement: ast.stmt, put: Callable[[ast.AST], None]) -> None:
        if isinstance(node, ast.keyword) and node.arg == "strict":
            return  # an assertion
        for apply in _changes(node, put):
            self.edits.append(Edit(statement, apply))
        self._children(node, statement)


def _setter(node: ast.AST, name: str) -> Callable[[ast.AST], None]:
    return lambda new: setattr(node, name, new)


def _placer(items: list[Any], place: int) -> Callable[[ast.AST], None]:
    return lambda new: items.__setitem__(place, new)


def _negated(node: ast.expr) -> ast.expr | None:
    """The condition's opposite, if no other change makes it."""
    simple = isinstance(node, ast.Compare) and len(node.ops) == 1
    if simple or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)):
        return None
    return ast.copy_location(ast.UnaryOp(ast.Not(), node), node)


def _constant(node: ast.Constant) -> list[object]:
    if isinstance(node.value, bool):
        return [not node.value]
    if isinstance(node.value, int):
        return [node.value + 1, node.value - 1]
    return [node.value * 2 or 1.0] if isinstance(node.value, float) else []


def _changes(node: ast.AST, put: Callable[[ast.AST], None]) -> Iterator[Callable[[], None]]:
    """What can be done to a node itself."""

    def attribute(owner: ast.AST, name: str, value: object) -> Callable[[], None]:
        return lambda: setattr(owner, name, value)

    def replaced(new: ast.AST) -> Callable[[], None]:
        return lambda: put(new)

    if isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            for other in _COMPARE[type(op)]:
                yield attribute(node, "ops", [*node.ops[:place], other(), *node.ops[place + 1 :]])
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _BINARY:
        yield attribute(node, "op", _BINARY[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield attribute(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.UAdd):
        yield replaced(node.operand)
    elif isinstance(node, ast.Constant):
        for value in _constant(node):
            yield attribute(node, "value", value)
    elif isinstance(node, ast.Slice):
        for side in ("lower", "upper"):
            if getattr(node, side) is not None:
                yield attribute(node, side, None)
    elif isinstance(node, ast.Call):
        called = node.func
        name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
        swapped = len(node.args) > 1 and not any(isinstance(part, ast.Starred) for part in node.args[:2])
        if swapped and name not in _CALLS:  # in which the order says nothing
            yield attribute(node, "args", [node.args[1], node.args[0], *node.args[2:]])
        if isinstance(called, ast.Name) and called.id in _CALLS:
            yield attribute(called, "id", _CALLS[called.id])
        elif isinstance(called, ast.Attribute) and called.attr in _CALLS:
            yield attribute(called, "attr", _CALLS[called.attr])
    if isinstance(node, ast.If | ast.While | ast.IfExp | ast.Assert):
        test = _negated(node.test)
        if test is not None:
            yield attribute(node, "test", test)
    elif isinstance(node, ast.comprehension):
        for place, condition in enumerate(node.ifs):
            test = _negated(condition)
            if test is not None:
                yield attribute(node, "ifs", [*node.ifs[:place], test, *node.ifs[place + 1 :]])


def edits(tree: ast.Module) -> list[Edit]:
    """All changes of a tree, in an order that depends on the source alone."""
    return _Finder(tree).edits


def _shown(statement: ast.stmt) -> str:
    """The statement in one line, without what is inside its blocks."""
    head = copy.copy(statement)
    for name in ("body", "orelse", "handlers", "finalbody", "decorator_list"):
        if isinstance(getattr(head, name, None), list):
            setattr(head, name, [ast.Pass()] if name == "body" else [])
    return " ".join(ast.unparse(head).removesuffix("pass").split())


def _difference(before: str, after: str) -> str:
    """Both, of long ones only what lies about the change."""
    start = next((k for k, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    if max(len(before), len(after)) > _LONGEST:
        low = max(0, start - _AROUND)
        before, after = (
            f"{'…' if low else ''}{text[low : start + _AROUND]}{'…' if len(text) > start + _AROUND else ''}"
            for text in (before, after)
        )
    return f"`{before}` → `{after}`"


def mutated(source: str, number: int) -> Mutated:
    """The module with its change of that number.

    Raises
    ------
    IndexError
        If it has fewer.
    """
    tree = ast.parse(source)
    edit = edits(tree)[number]
    before = _shown(edit.statement)
    edit.apply()
    after = "nothing" if edit.removes else _shown(edit.statement)
    return Mutated(ast.fix_missing_locations(tree), edit.statement.lineno, _difference(before, after))
