"""Next values of registers as statements of the registers' clocked processes, as people write them."""

import re
from collections.abc import Sequence

__all__ = ["clocked_statements", "is_next_of"]

_START = re.compile(r"    if \(\w+\) begin end")  # by which Yosys makes an `always @*` run once
_WHOLE = re.compile(r"    (\w+) = (.*);")
_ANY = re.compile(r" +\w+(?: ?\[[^\]]*\])* = ")
_ASSIGN = re.compile(r"  assign (\w+) = (.*);")


def is_next_of(name: str, register: str) -> bool:
    """Whether a signal was named after the register that takes it (`hw.rtlil.names`), and not by the source."""
    return re.fullmatch(rf"{register}_next(_\d+)?", name) is not None


def clocked_statements(process: Sequence[str], register: str) -> list[str] | None:
    """What a register's clocked process does, given the process that computes its next value.

    Parameters
    ----------
    process : sequence of str
        ``always @*`` or ``always_comb`` with its lines, which assigns one signal; or an ``assign``.
    register : str

    Returns
    -------
    list of str, or None
        Lines that assign the register itself, later ones over earlier ones, without the one that says that it keeps its
        value; None if the next value is also read there, or not assigned as a whole first, or not alone.
    """
    if assign := _ASSIGN.fullmatch(process[0]):
        return [f"    {register} <= {assign[2]};"]
    body = [line for line in process[1:-1] if not _START.fullmatch(line)]
    first = _WHOLE.fullmatch(body[0]) if body else None
    if first is None:
        return None
    following = first[1]
    assigned = re.compile(rf"( +){following}((?: ?\[[^\]]*\])*) = ")
    result = []
    for line in body:
        found = assigned.match(line)
        if found is None and _ANY.match(line):  # another signal: its assignment would get lost
            return None
        rest = line if found is None else line[found.end() :]
        if re.search(rf"\b{following}\b", rest):
            return None
        result.append(line if found is None else f"{found[1]}{register}{found[2]} <= {rest}")
    if first[2] == register and len(result) > 1:
        result = result[1:]
    return result
