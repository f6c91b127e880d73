"""What trials need of a simulator's Verilog beside its ports: a memory that moves, counters that can be set."""

import re

__all__ = ["movable", "replaced", "settable"]

_COUNTER = r"(?:count_\w+|bytes|bytes_read|bytes_skipped|beats_done)"
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


def _settable(module: re.Match[str]) -> str:
    text = module[0]
    # Yosys gives the register of a counter with a mutant a name of its own, and the counter its bits, in order.
    named = re.findall(
        rf"^  assign {{ [^}}]*\b{_COUNTER}(?:\[[\d:]+\])?[ ,][^}}]*}} = (_\d+_);", text, flags=re.MULTILINE
    )
    names = "|".join([_COUNTER, *map(re.escape, named)])
    return re.sub(
        rf"^(  (?:output )?reg \[(?:31|63):0\] (?:{names}))(?= =|;)", rf"\1{_PUBLIC}", text, flags=re.MULTILINE
    )


def settable(verilog: str) -> str:
    """The text with its counters of cycles, words and bytes open to be set."""
    return re.sub(r"^module .*?^endmodule", _settable, verilog, flags=re.MULTILINE | re.DOTALL)
