"""Choices of a process without branches that do nothing, and with a default where a linter would ask for one."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from moesaic.hw.rtlil.design import Item, Module, Words

__all__ = ["shorten_choices"]

_VALUE = "\\enum_value_"
_CONSTANT = re.compile(r"\d+'([01]+)")


@dataclass
class _Case:
    patterns: list[str]  # bits, `-` for any; none: the default
    body: "_Body"


@dataclass
class _Choice:
    signal: Words
    cases: list[_Case]


_Body = list[Words | _Choice]


def _tree(lines: Iterator[Words]) -> _Body:
    """What stands before the next ``case`` or ``end`` of the same level; that line is read too."""
    body: _Body = []
    for line in lines:
        if line[0] == "switch":
            body.append(_choice(line[1:], lines))
        else:
            body.append(line)
    return body


def _choice(signal: Words, lines: Iterator[Words]) -> _Choice:
    result, depth = _Choice(signal, []), 0
    inside: list[Words] = []
    for line in lines:
        if not depth and line[0] in ("case", "end"):
            if result.cases:
                result.cases[-1].body = _tree(iter(inside))
            if line[0] == "end":
                break
            result.cases.append(_Case([word.strip(",").partition("'")[2] for word in line[1:] if word != ","], []))
            inside = []
        else:
            depth += (line[0] == "switch") - (line[0] == "end")
            inside.append(line)
    return result


def _decided(signal: Words) -> str | None:
    """Bits of a signal that is constant, or has none; None for any other."""
    if "".join(signal) == "{}":
        return ""
    constant = _CONSTANT.fullmatch(signal[0])
    return None if constant is None else constant[1]


def _matches(bits: str, pattern: str) -> bool:
    return all(want in ("-", bit) for bit, want in zip(bits, pattern, strict=True))


def _is_chain(choice: _Choice) -> bool:
    """Whether Yosys writes it as ``if`` and ``else if``: each case asks for one bit, in their order."""
    return all(
        len(case.patterns) == 1
        and case.patterns[0][::-1] == "1".rjust(index + 1, "-").ljust(len(case.patterns[0]), "-")
        for index, case in enumerate(choice.cases)
        if case.patterns
    )


def _exclusive(choice: _Choice) -> bool:
    """Whether no two cases can match at once."""
    patterns = [pattern for case in choice.cases for pattern in case.patterns]
    return len(set(patterns)) == len(patterns) and not any("-" in pattern for pattern in patterns)


def _shortened(choice: _Choice) -> list[_Choice]:
    """The choice without what does nothing; none if that is all of it."""
    cases = choice.cases
    for case in cases:
        case.body = _short(case.body)
    decided = _decided(choice.signal)
    if decided is not None:
        # Of a choice without a signal, Yosys writes the default and no other case.
        taken = [case for case in cases if not case.patterns or any(_matches(decided, p) for p in case.patterns)]
        choice.signal, cases = ["{}"], [_Case([], case.body) for case in taken[:1]]
    if not any(case.body for case in cases):
        return []
    choice.cases = cases
    if _is_chain(choice):
        while not cases[-1].body:
            cases.pop()
    elif _exclusive(choice) and (cases[-1].patterns or not cases[-1].body):
        choice.cases = [*(case for case in cases if case.body), _Case([], [])]
    elif cases[-1].patterns:
        cases.append(_Case([], []))
    return [choice]


def _short(body: _Body) -> _Body:
    result: _Body = []
    for part in body:
        result += _shortened(part) if isinstance(part, _Choice) else [part]
    return result


def _values(signal: Words, wires: Mapping[str, Item]) -> dict[str, str]:
    """Names of a signal's values, by their bits, if it is of an enumeration."""
    wire = wires.get(signal[0])
    if wire is None or signal[1:] not in ([], [f"[{wire.width - 1}:0]"]):
        return {}
    return {
        name.removeprefix(_VALUE): value.strip('"')
        for name, value in wire.attributes.items()
        if name.startswith(_VALUE)
    }


def _lines(body: _Body, wires: Mapping[str, Item]) -> Iterator[Words]:
    for part in body:
        if isinstance(part, _Choice):
            names = _values(part.signal, wires)
            yield ["switch", *part.signal]
            for case in part.cases:
                if known := [names[pattern] for pattern in case.patterns if pattern in names]:
                    yield ["attribute", "\\name", '"{}"'.format(", ".join(known))]
                yield ["case", *(" , ".join(f"{len(p)}'{p}" for p in case.patterns)).split()]
                yield from _lines(case.body, wires)
            yield ["end"]
        else:
            yield part


def shorten_choices(module: Module) -> None:
    """Remove branches without an assignment, and choices that are decided; end each ``case`` with a default; name
    states in comments.

    Amaranth writes every state and branch of the source into the process of every signal, also where the signal does
    not change. Linters ask for a default even where it does nothing.
    """
    wires = module.wires
    for process in module.of_kind("process"):
        process.body = list(_lines(_short(_tree(iter(process.body))), wires))
