"""Sums and products of an instruction's fields and a configuration's settings: a text, and a value of numbers or of
signals.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Look", "Quantity", "constant", "of_field", "of_setting"]

Look = Callable[[str], Any]  # from the name of a field, or of a setting, to its number, or to its signal


@dataclass(frozen=True)
class Quantity:
    """A sum, difference or product, or one of what they are made of.

    Parameters
    ----------
    text : str
    value : callable
        Its value, from those of its names.
    fields, settings : frozenset of str
        Names of the instruction's fields and of the configuration's settings in it.
    """

    text: str
    value: Callable[[Look], Any] = field(compare=False)
    fields: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()

    def __add__(self, other: "Quantity | int") -> "Quantity":
        return self._join(other, "+", lambda a, b: a + b)

    def __sub__(self, other: "Quantity | int") -> "Quantity":
        return self._join(other, "-", lambda a, b: a - b)

    def __mul__(self, other: "Quantity | int") -> "Quantity":
        return self._join(other, "*", lambda a, b: a * b)

    def __rmul__(self, factor: int) -> "Quantity":
        return constant(factor) * self

    def __floordiv__(self, other: "Quantity | int") -> "Quantity":
        return self._join(other, "/", lambda a, b: a // b)

    def _join(self, other: "Quantity | int", sign: str, join: Callable[[Any, Any], Any]) -> "Quantity":
        right = other if isinstance(other, Quantity) else constant(other)
        left = f"({self.text})" if sign in "*/" and " " in self.text else self.text
        return Quantity(
            f"{left} {sign} {right.text}",
            lambda look: join(self.value(look), right.value(look)),
            self.fields | right.fields,
            self.settings | right.settings,
        )


def constant(number: int) -> Quantity:
    """A number."""
    return Quantity(str(number), lambda look: number)


def of_field(name: str) -> Quantity:
    """A field of the instruction."""
    return Quantity(name, lambda look: look(name), fields=frozenset({name}))


def of_setting(name: str) -> Quantity:
    """A setting of the configuration."""
    return Quantity(name, lambda look: look(name), settings=frozenset({name}))
