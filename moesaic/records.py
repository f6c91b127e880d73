"""Frozen dataclasses as JSON and back: what a file must look like follows from the types, and is checked first.

Plain values, `X | None`, tuples, mappings with names as keys, and dataclasses of these. ``Annotated[X, shape]`` says
more of a value than its type does: a `schema.Shape`, or a `Count` for a tuple or mapping; `Any` must have a shape. A
field whose name is another in JSON has it in its metadata: ``field(metadata=called("import"))``.
"""

import dataclasses
import functools
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from moesaic.schema import Flag, Listed, Mapped, Maybe, Number, Shape, Table, Text, Whole

__all__ = ["Count", "called", "from_plain", "shape_of", "to_plain"]

T = TypeVar("T")
_MOST = 1 << 48
_PLAIN: dict[Any, Shape] = {int: Whole(-_MOST, _MOST), float: Number(), bool: Flag(), str: Text()}
_NAME = "name"


@dataclass(frozen=True)
class Count:
    """How many entries a tuple or a mapping has."""

    least: int = 0
    most: int = 1 << 16


def called(name: str) -> dict[str, str]:
    """Metadata of a field whose name in JSON is another."""
    return {_NAME: name}


@functools.cache
def _fields(kind: type) -> tuple[tuple[str, str, Any, bool], ...]:
    """Fields of a dataclass: name, name in JSON, type, and whether it must be there."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        (f.name, f.metadata.get(_NAME, f.name), hints[f.name], f.default is f.default_factory is dataclasses.MISSING)
        for f in dataclasses.fields(kind)
    )


def _bare(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its annotations, and those."""
    return (kind.__origin__, kind.__metadata__) if get_origin(kind) is Annotated else (kind, ())


def _inner(kind: Any) -> Any:
    """X of `X | None`."""
    (inner,) = (argument for argument in get_args(kind) if argument is not type(None))
    return inner


@functools.cache
def shape_of(kind: Any) -> Shape:
    """What JSON of this type looks like.

    Raises
    ------
    TypeError
        If values of the type cannot be kept as JSON.
    """
    kind, notes = _bare(kind)
    for note in notes:
        if isinstance(note, Shape):
            return note
    count = next((note for note in notes if isinstance(note, Count)), Count())
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return Maybe(shape_of(_inner(kind)))
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return Listed(shape_of(arguments[0]), count.least, count.most)
        return Listed(shape_of(arguments[0]), len(arguments), len(arguments))
    if origin is Mapping:
        return Mapped(shape_of(arguments[1]), shape_of(arguments[0]), count.most)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        needed = {name: shape_of(inner) for _, name, inner, must in _fields(kind) if must}
        return Table(needed, {name: shape_of(inner) for _, name, inner, must in _fields(kind) if not must})
    raise TypeError(f"kind must be a type that JSON can keep, not {kind!r}")


def to_plain(value: Any) -> Any:
    """A value of such a type as `json.dumps` takes it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_plain(getattr(value, own)) for own, name, _, _ in _fields(type(value))}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def from_plain(kind: type[T], value: Any, where: str) -> T:
    """The value that `to_plain` was given.

    Raises
    ------
    SchemaError
        If it cannot be of this type; the message says where.
    ValueError
        If a dataclass refuses its fields.
    """
    shape: Shape = shape_of(kind)  # type: ignore[arg-type]
    shape.check(value, where)
    result: T = _made(kind, value)
    return result


def _made(kind: Any, value: Any) -> Any:
    kind, _ = _bare(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if value is None or kind in _PLAIN or kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _made(_inner(kind), value)
    if origin is tuple:
        return tuple(_made(arguments[0], item) for item in value)
    if origin is Mapping:
        return {key: _made(arguments[1], item) for key, item in value.items()}
    given = {own: (name, inner) for own, name, inner, _ in _fields(kind)}
    return kind(**{own: _made(inner, value[name]) for own, (name, inner) in given.items() if name in value})
