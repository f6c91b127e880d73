"""Rules about an instruction's fields: what they are, how they read, and whether one is broken.

A rule is judged on numbers or on signals alike: it uses what both have, `==`, `<=`, `&`, `|`, `+`, `-` and `*`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import and_, or_
from typing import Any, Protocol

from moesaic.hw.spec.isa import FORMATS, Opcode
from moesaic.hw.spec.quantity import Look, Quantity

__all__ = ["Among", "Has", "Multiple", "Must", "Needs", "Paired", "Rule", "Within"]


def _shown(opcode: Opcode, name: str, value: int) -> str:
    """A field's value as people write it: enumerated ones by name."""
    kind = FORMATS[opcode].field(name).values
    return str(value) if kind is None else kind(value).name


def _choice(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


class Must(Protocol):
    """What a rule asks for."""

    @property
    def fields(self) -> frozenset[str]:
        """Names of the instruction's fields that it is about."""

    @property
    def settings(self) -> frozenset[str]:
        """Names of the configuration's settings that it is about."""

    def holds(self, look: Look) -> Any:
        """Whether it is so."""

    def text(self, opcode: Opcode) -> str:
        """For the manual: "x must be y"."""

    def reason(self, opcode: Opcode, look: Look) -> str:
        """For an error: "x must be y, not z"."""


@dataclass(frozen=True)
class Among:
    """A field has one of some values."""

    name: str
    values: tuple[int, ...]
    settings: frozenset[str] = field(default=frozenset(), init=False)

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.name})

    def holds(self, look: Look) -> Any:
        return reduce(or_, [look(self.name) == value for value in self.values])

    def text(self, opcode: Opcode) -> str:
        return f"`{self.name}` must be {_choice([_shown(opcode, self.name, value) for value in self.values])}"

    def reason(self, opcode: Opcode, look: Look) -> str:
        return f"{self.text(opcode).replace('`', '')}, not {_shown(opcode, self.name, look(self.name))}"


@dataclass(frozen=True)
class Within:
    """A quantity lies between two others, both included."""

    quantity: Quantity
    low: Quantity | None = None
    high: Quantity | None = None

    @property
    def _bounds(self) -> list[Quantity]:
        return [bound for bound in (self.low, self.high) if bound is not None]

    @property
    def fields(self) -> frozenset[str]:
        return self.quantity.fields.union(*(bound.fields for bound in self._bounds))

    @property
    def settings(self) -> frozenset[str]:
        return self.quantity.settings.union(*(bound.settings for bound in self._bounds))

    def holds(self, look: Look) -> Any:
        value = self.quantity.value(look)
        if self.low == self.high and self.low is not None:
            return value == self.low.value(look)
        sides = [] if self.low is None else [self.low.value(look) <= value]
        sides += [] if self.high is None else [value <= self.high.value(look)]
        return reduce(and_, sides)

    def _range(self, low: str, high: str) -> str:
        if self.low is None:
            return f"at most {high}"
        if self.high is None:
            return "positive" if low == "1" else f"at least {low}"
        return low if self.low == self.high else f"between {low} and {high}"

    def text(self, opcode: Opcode) -> str:
        low, high = ("" if bound is None else _code(bound.text) for bound in (self.low, self.high))
        return f"{_code(self.quantity.text)} must be {self._range(low, high)}"

    def reason(self, opcode: Opcode, look: Look) -> str:
        low, high = ("" if bound is None else _worth(bound, look) for bound in (self.low, self.high))
        return f"{self.quantity.text} must be {self._range(low, high)}, not {self.quantity.value(look)}"


@dataclass(frozen=True)
class Multiple:
    """A field is a multiple of a power of two."""

    name: str
    of: Quantity

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.name}) | self.of.fields

    @property
    def settings(self) -> frozenset[str]:
        return self.of.settings

    def holds(self, look: Look) -> Any:
        return (look(self.name) & (self.of.value(look) - 1)) == 0

    def text(self, opcode: Opcode) -> str:
        return f"`{self.name}` must be a multiple of {_code(self.of.text)}"

    def reason(self, opcode: Opcode, look: Look) -> str:
        return f"{self.name} must be a multiple of {self.of.value(look)}, not {look(self.name)}"


@dataclass(frozen=True)
class Needs:
    """A field other than 0 takes a configuration with an option."""

    name: str
    option: str

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.name})

    @property
    def settings(self) -> frozenset[str]:
        return frozenset({self.option})

    def holds(self, look: Look) -> Any:
        return (look(self.name) == 0) | bool(look(self.option))

    def text(self, opcode: Opcode) -> str:
        return f"`{self.name}` must be 0 on a configuration without `{self.option}`"

    def reason(self, opcode: Opcode, look: Look) -> str:
        return f"{self.name} must be 0 on a configuration without {self.option}, not {look(self.name)}"


@dataclass(frozen=True)
class Paired:
    """As many blocks as hold what a field counts are an even number, the last one not empty."""

    name: str
    block: Quantity  # a power of two

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.name}) | self.block.fields

    @property
    def settings(self) -> frozenset[str]:
        return self.block.settings

    def holds(self, look: Look) -> Any:
        return ((look(self.name) - 1) & self.block.value(look)) != 0

    def text(self, opcode: Opcode) -> str:
        return f"`{self.name}` must end in an odd block of {_code(self.block.text)}, counted from 0"

    def reason(self, opcode: Opcode, look: Look) -> str:
        return (
            f"{self.name} must end in an odd block of {_worth(self.block, look)}, counted from 0, not {look(self.name)}"
        )


@dataclass(frozen=True)
class Has:
    """The configuration has an option."""

    option: str
    fields: frozenset[str] = field(default=frozenset(), init=False)

    @property
    def settings(self) -> frozenset[str]:
        return frozenset({self.option})

    def holds(self, look: Look) -> Any:
        return bool(look(self.option))

    def text(self, opcode: Opcode) -> str:
        return f"the configuration must have `{self.option}`"

    def reason(self, opcode: Opcode, look: Look) -> str:
        return f"the configuration must have {self.option}, not {self.option} = {look(self.option)}"


def _code(text: str) -> str:
    return text if text.isdigit() else f"`{text}`"


def _worth(bound: Quantity, look: Look) -> str:
    """A bound of an error message: its number, with the fields that make it."""
    return f"{bound.text} = {bound.value(look)}" if bound.fields else str(bound.value(look))


@dataclass(frozen=True)
class Rule:
    """If all fields in `when` have one of the values there, `must` holds.

    Parameters
    ----------
    when : mapping of field name to tuple of int
    must : Must
    """

    when: Mapping[str, tuple[int, ...]]
    must: Must

    @property
    def fields(self) -> frozenset[str]:
        """Names of the instruction's fields that it is about."""
        return self.must.fields | frozenset(self.when)

    def broken(self, look: Look) -> Any:
        """Whether the instruction whose fields `look` knows breaks it."""
        wrong = self.must.holds(look) == 0
        return reduce(and_, [Among(name, values).holds(look) for name, values in self.when.items()], wrong)

    def case(self, opcode: Opcode) -> str:
        """For the manual: what must be so for the rule to speak."""
        return ", ".join(
            f"`{name}` {_choice([_shown(opcode, name, value) for value in values])}"
            for name, values in self.when.items()
        )

    def reason(self, opcode: Opcode, look: Look) -> str:
        """For an error: "with function GELU, x must be y, not z"."""
        case = " and ".join(f"{name} {_shown(opcode, name, look(name))}" for name in self.when)
        return f"with {case}, {self.must.reason(opcode, look)}" if case else self.must.reason(opcode, look)
