"""RTLIL text as modules of items, for passes that rename, remove and share."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Item", "Module", "Part", "Words", "parse", "rewrite", "signals_of"]

Words = list[str]  # a line, split at blanks; strings keep their quotes
_WORD = re.compile(r'"(?:\\.|[^"\\])*"|\S+')
_RANGE = re.compile(r"\[(\d+)(?::(\d+))?\]")
# Ports that cells of Yosys drive; every other port is read.
_DRIVEN = frozenset({"\\Y", "\\Q"})
_DIRECTIONS = ("input", "output", "inout")
_READ_PORT = frozenset({"\\DATA"})


@dataclass(frozen=True)
class Part:
    """A signal in an expression, whole or some of its bits.

    Parameters
    ----------
    name : str
    high, low : int, optional
        First and last bit; the whole signal without them.
    """

    name: str
    high: int | None = None
    low: int = 0

    @property
    def words(self) -> Words:
        if self.high is None:
            return [self.name]
        return [self.name, f"[{self.high}]" if self.high == self.low else f"[{self.high}:{self.low}]"]


def _pieces(words: Iterable[str]) -> Iterator[str | Part]:
    """Signals with their bits; constants and braces as they are."""
    name: str | None = None
    for word in words:
        found = _RANGE.fullmatch(word)
        if name is not None:
            yield Part(name, int(found[1]), int(found[2] or found[1])) if found else Part(name)
        name = word if word[0] in "\\$" else None
        if name is None and not found:
            yield word
    if name is not None:
        yield Part(name)


def signals_of(words: Iterable[str]) -> list[Part]:
    """The signals of an expression, in order."""
    return [piece for piece in _pieces(words) if isinstance(piece, Part)]


def rewrite(words: Iterable[str], change: Callable[[Part], Part]) -> Words:
    """An expression with every signal changed."""
    result: Words = []
    for piece in _pieces(words):
        result += [piece] if isinstance(piece, str) else change(piece).words
    return result


@dataclass
class Item:
    """A wire, memory, cell or process.

    Parameters
    ----------
    head : list of str
        Its first line, the name aside.
    name : str
        With its first character, ``\\`` for names of the source and ``$`` for others.
    attributes : dict of str to str
    body : list of lines
        Of a cell or process, up to its ``end``.
    """

    head: Words
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    body: list[Words] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """``wire``, ``memory``, ``cell`` or ``process``."""
        return self.head[0]

    @property
    def type(self) -> str:
        """Of a cell: ``$add``, or the module that it places."""
        return self.head[1]

    @property
    def direction(self) -> str | None:
        """Of a wire: ``input``, ``output`` or ``inout``, if it is a port."""
        return next((word for word in _DIRECTIONS if word in self.head), None)

    @property
    def width(self) -> int:
        """Of a wire, in bits."""
        return int(self.head[self.head.index("width") + 1]) if "width" in self.head else 1

    def parameter(self, name: str) -> str | None:
        """Value of a cell's parameter."""
        return next((line[-1] for line in self.body if line[0] == "parameter" and line[-2] == name), None)

    def port(self, name: str) -> Words:
        """What is connected to a port of a cell; nothing if it has none of that name."""
        return next((line[2:] for line in self.body if line[:2] == ["connect", name]), [])

    def driven_ports(self, modules: Mapping[str, "Module"]) -> frozenset[str]:
        """Ports of a cell that drive what is connected to them."""
        if self.type in modules:
            return frozenset(wire.name for wire in modules[self.type].ports if wire.direction != "input")
        return _READ_PORT if self.type == "$memrd_v2" else _DRIVEN


@dataclass
class Module:
    """A module of RTLIL.

    Parameters
    ----------
    name : str
    attributes : dict of str to str
    items : list of Item
    connections : list of (left, right)
        Both expressions.
    """

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    connections: list[tuple[Words, Words]] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[Item]:
        return [item for item in self.items if item.kind == kind]

    @property
    def wires(self) -> dict[str, Item]:
        return {item.name: item for item in self.items if item.kind == "wire"}

    @property
    def ports(self) -> list[Item]:
        """Its wires that are ports."""
        return [item for item in self.items if item.kind == "wire" and item.direction]

    def text(self) -> str:
        """As Yosys reads it."""
        lines = [f"attribute {name} {value}" for name, value in self.attributes.items()]
        lines.append(f"module {self.name}")
        for item in self.items:
            lines += [f"attribute {name} {value}" for name, value in item.attributes.items()]
            lines.append(" ".join([*item.head, item.name]))
            if item.kind in ("cell", "process"):
                lines += [" ".join(line) for line in item.body]
                lines.append("end")
        lines += [" ".join(["connect", *left, *right]) for left, right in self.connections]
        return "\n".join([*lines, "end", ""])


def _side(words: Words) -> int:
    """How many words the first expression of a line has."""
    if words[0] == "{":
        depth = 0
        for index, word in enumerate(words):
            depth += (word == "{") - (word == "}")
            if not depth:
                return index + 1
    return 2 if len(words) > 1 and _RANGE.fullmatch(words[1]) else 1


def split_sides(words: Words) -> tuple[Words, Words]:
    """Both expressions of an assignment."""
    at = _side(words)
    return words[:at], words[at:]


def parse(text: str) -> dict[str, Module]:
    """The modules of RTLIL text as Amaranth writes it, by name.

    Raises
    ------
    ValueError
        If a line is none that Amaranth writes.
    """
    modules: dict[str, Module] = {}
    module: Module | None = None
    item: Item | None = None
    depth = 0
    attributes: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = _WORD.findall(line)
        first = words[0] if words else ""
        if not words or first == "#":
            continue
        if item is not None:
            depth += (first == "switch") - (first == "end")
            if depth:
                item.body.append(words)
            else:
                item = None
        elif first == "attribute":
            attributes[words[1]] = words[2]
        elif module is None and first == "module":
            module = modules[words[1]] = Module(words[1], attributes)
            attributes = {}
        elif module is not None and first in ("wire", "memory", "cell", "process"):
            item = Item(words[:-1], words[-1], attributes)
            module.items.append(item)
            attributes, depth = {}, 1
            if first in ("wire", "memory"):
                item = None
        elif module is not None and first == "connect":
            module.connections.append(split_sides(words[1:]))
        elif module is not None and first == "end":
            module = None
        else:
            raise ValueError(f"RTLIL line {number} must be one that Amaranth writes, not {line.strip()[:80]!r}")
    return modules
