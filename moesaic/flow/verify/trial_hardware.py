"""What trials need of a simulator's Verilog beside its ports: a memory that moves, counters that can be set."""

import re
from collections.abc import Sequence

__all__ = ["kind", "movable", "replaced", "settable"]

_COUNTER = r"(?:count_\w+|bytes|bytes_read|bytes_skipped|beats_done)"
# Other registers that can be set, by what they are: names, and their last bits.
_OTHERS = {
    "numbers": (r"(?:issued_(?:load|compute|store)|error_index|done|finished|retired|previous)", "23|31"),
    "watchdog": ("remaining", "31"),
}
_PUBLIC = " /* verilator public_flat_rw */"


def replaced(text: str, changes: tuple[tuple[str, str], ...]) -> str:
    """The text with each pattern replaced; `ValueError` if one is not there."""
    for pattern, by in changes:
        text, count = re.subn(pattern, by, text)
        if not count:
            raise ValueError(f"text must have {pattern!r}, not {text[:60]!r}")
    return text


def movable(ddr: str) -> str:
    """The text of the DDR model with a variable `moved`, which is added to all addresses of the memory on the bus."""
    moved = r"\g<0>\n    longint moved /* verilator public_flat_rw */ = 0;"
    return replaced(
        ddr,
        ((r"    longint image_base, window_bytes;", moved), (r"offset = longint'\(addr\) - BASE", r"\g<0> - moved")),
    )


def _named(text: str, name: str) -> list[str]:
    """Names that Yosys gives the registers of counters with a mutant; the counter has their bits, in order."""
    return re.findall(rf"^  assign {{ [^}}]*\b{name}(?:\[[\d:]+\])?[ ,][^}}]*}} = (_\d+_);", text, flags=re.MULTILINE)


def _opened(text: str, last: str, names: Sequence[str]) -> str:
    pattern = rf"^(  (?:output )?reg \[(?:{last}):0\] (?:{'|'.join(names)}))(?= =|;)"
    return re.sub(pattern, rf"\1{_PUBLIC}", text, flags=re.MULTILINE)


def _settable(module: re.Match[str]) -> str:
    text = module[0]
    text = _opened(text, "31|63", [_COUNTER, *_named(text, _COUNTER)])
    for what, (names, last) in _OTHERS.items():
        for name in _named(text, names):
            text = re.sub(rf"\b{name}\b", what + name, text)
        text = _opened(text, last, [names, rf"{what}_\d+_"])
    return text


def kind(register: str) -> str:
    """Of a register that can be set, by its name: `numbers`, `watchdog`, or nothing if it only counts."""
    for what, (names, _) in _OTHERS.items():
        if re.fullmatch(rf"{names}|{what}_\d+_", register):
            return what
    return ""


def settable(verilog: str) -> str:
    """The text with its counters of cycles, words, bytes and instructions open to be set."""
    return re.sub(r"^module .*?^endmodule", _settable, verilog, flags=re.MULTILINE | re.DOTALL)
