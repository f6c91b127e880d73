"""What a value from a file must look like, written as data and checked before anything is made of it.

Plain Python 3.10: the host runtime on a board checks manifests with it.
"""

import dataclasses
import re
import reprlib
import types
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Union, get_args, get_origin

from moesaic.names import NAME_RULE, is_name

__all__ = [
    "Anything",
    "Choice",
    "Flag",
    "Listed",
    "Mapped",
    "Maybe",
    "Name",
    "Number",
    "SchemaError",
    "Shape",
    "Table",
    "Text",
    "Whole",
    "fields_of",
]


class SchemaError(ValueError):
    """A value is not of its shape; the message names the place, the requirement and the value."""


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


class Shape(ABC):
    """What a value must be; :meth:`check` raises `SchemaError` if it is not."""

    @abstractmethod
    def check(self, value: Any, where: str) -> None:
        """Check a value that stands at `where`."""

    def refuse(self, where: str, requirement: str, value: Any) -> NoReturn:
        """Say what the value at `where` must be."""
        raise SchemaError(f"{where} must be {requirement}, not {_SHORT.repr(value)}")


@dataclass(frozen=True)
class Whole(Shape):
    """A whole number from `low` to `high`."""

    low: int = 0
    high: int = 1 << 48

    def check(self, value: Any, where: str) -> None:
        """Check a value that stands at `where`."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            self.refuse(where, f"a whole number from {self.low} to {self.high}", value)


@dataclass(frozen=True)
class Number(Shape):
    """A finite number from `low` to `high`."""

    low: float = -1e18
    high: float = 1e18

    def check(self, value: Any, where: str) -> None:
        """Check a value that stands at `where`."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            self.refuse(where, f"a number from {self.low:g} to {self.high:g}", value)


@dataclass(frozen=True)
class Flag(Shape):
    """True or false."""

    def check(self, value: Any, where: str) -> None:
        """Check a value that stands at `where`."""
        if not isinstance(value, bool):
            self.refuse(where, "true or false", value)


@dataclass(frozen=True)
class Text(Shape):
    """A text of at most `most` characters, that a pattern matches as a whole."""

    pattern: str = r"(?s:.*)"
    most: int = 4096
    title: str = ""

    def check(self, value: Any, where: str) -> None:
        """Check a value that stands at `where`."""
        if not isinstance(value, str) or len(value) > self.most or not re.fullmatch(self.pattern, value):
            self.refuse(where, self.title or f"a text of at most {self.most} characters", value)


@dataclass(frozen=True)
class Name(Shape):
    """A name by the rule of `moesaic.names`."""

    def check(self, value: Any, where: str) -> None:
        """Check a value that stands at `where`."""
        if not is_name(value):
            self.refuse(where, NAME_RULE, value)


@dataclass(frozen=True)
class Choice(Shape):
    """One of some values."""

    values: tuple[Any, ...]

    def check(self, value: Any, where: str) -> None:
        """Check a value that stands at `where`."""
        if not any(type(value) is type(known) and value == known for known in self.values):
            self.refuse(where, f"{' or '.join(map(repr, self.values))}", value)


@dataclass(frozen=True)
class Maybe(Shape):
    """A shape, or None."""

    shape: Shape

    def check(self, value: Any, where: str) -> None:
        """Check a value that stands at `where`."""
        if value is not None:
            self.shape.check(value, where)


@dataclass(frozen=True)
class Listed(Shape):
    """A list of `least` to `most` values of one shape."""

    shape: Shape
    least: int = 0
    most: int = 4096

    def check(self, value: Any, where: str) -> None:
        """Check a value that stands at `where`."""
        if not isinstance(value, (list, tuple)) or not self.least <= len(value) <= self.most:
            self.refuse(where, f"a list of {self.least} to {self.most} values", value)
        for index, item in enumerate(value):
            self.shape.check(item, f"{where}[{index}]")


@dataclass(frozen=True)
class Mapped(Shape):
    """A table of at most `most` values of one shape, under keys of another."""

    shape: Shape
    key: Shape = field(default_factory=Name)
    most: int = 4096

    def check(self, value: Any, where: str) -> None:
        """Check a value that stands at `where`."""
        if not isinstance(value, dict) or len(value) > self.most:
            self.refuse(where, f"a table of at most {self.most} values", value)
        for key, item in value.items():
            self.key.check(key, f"a key of {where}")
            self.shape.check(item, f"{where}.{key}")


@dataclass(frozen=True)
class Table(Shape):
    """A table with a shape for each field; `optional` ones may be absent, and others, if `open`, are not looked at."""

    fields: Mapping[str, Shape]
    optional: Mapping[str, Shape] = field(default_factory=dict)
    open: bool = False

    def check(self, value: Any, where: str) -> None:
        """Check a value that stands at `where`."""
        if not isinstance(value, dict):
            self.refuse(where, "a table", value)
        for name, shape in self.fields.items():
            if name not in value:
                self.refuse(where, f"a table with the field {name!r}", list(value))
            shape.check(value[name], f"{where}.{name}")
        for name, item in value.items():
            if name in self.optional:
                self.optional[name].check(item, f"{where}.{name}")
            elif name not in self.fields and not self.open:
                self.refuse(where, f"a table without the field {_SHORT.repr(name)}", list(value))


@dataclass(frozen=True)
class Anything(Shape):
    """Any value of JSON that is not nested deeper than `depth`, nor has more than `most` entries in one place."""

    depth: int = 8
    most: int = 4096

    def check(self, value: Any, where: str) -> None:
        """Check a value that stands at `where`."""
        if isinstance(value, (list, dict)):
            if self.depth == 0 or len(value) > self.most:
                self.refuse(where, f"at most {self.depth} levels of at most {self.most} values", value)
            inner = Anything(self.depth - 1, self.most)
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                inner.check(key, f"a key of {where}")
                inner.check(item, f"{where}.{_SHORT.repr(key)}")
        elif isinstance(value, str):
            Text().check(value, where)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            Number().check(value, where)


_PLAIN: dict[Any, Shape] = {int: Whole(high=1 << 20), float: Number(-1e12, 1e12), bool: Flag(), str: Text(most=200)}


def _shape_of(kind: Any) -> Shape:
    if kind in _PLAIN:
        return _PLAIN[kind]
    arguments = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return Maybe(_shape_of(inner))
    if get_origin(kind) is tuple:
        if arguments[-1] is Ellipsis:
            return Listed(_shape_of(arguments[0]), most=64)
        return Listed(_shape_of(arguments[0]), len(arguments), len(arguments))
    raise TypeError(f"kind must be a type that a schema can be made of, not {kind!r}")


def fields_of(kind: type, **known: Shape) -> Table:
    """The table that a dataclass is kept as: a shape for each field, from its type unless it is known better."""
    shapes = {f.name: known.get(f.name) or _shape_of(f.type) for f in dataclasses.fields(kind)}
    needed = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING}
    return Table(
        {name: shape for name, shape in shapes.items() if name in needed},
        {name: shape for name, shape in shapes.items() if name not in needed},
    )
