"""The register map as text: Markdown for the documentation, a C header for host programs, SystemRDL for
register tools.
"""

import dataclasses
from typing import Any

from moesaic.hw.spec.registers import (
    COUNTERS,
    MAP_BYTES,
    Access,
    ErrorCode,
    ErrorUnit,
    Field,
    RegisterMap,
    register_map,
)

__all__ = ["to_c_header", "to_json", "to_markdown", "to_systemrdl"]

_INTRO = """\
# Registers

Generated from `hw/spec/registers.py`, as are the RTL's register file and the driver's names;
`moesaic registers` prints it as Markdown, C header, SystemRDL or JSON.

The host sees {size} bytes over AXI4-Lite, in 32-bit little-endian words. This table is for {ports} weight ports;
the per-port registers repeat every 32 bytes.

* A misaligned address or one without a register answers SLVERR, one beyond the {size} bytes DECERR; nothing changes.
* Writing an RO register answers SLVERR. Registers marked *locked* answer SLVERR to a write while `STATUS.busy` is set.
* Byte strobes are honoured. Bits without a meaning read 0 and ignore writes.
* W1S: writing 1 triggers, reads give 0. W1C: writing 1 clears.
* A 64-bit value takes two words, `_LO` first. Counters run freely during a run: read `_HI`, `_LO`, `_HI` until both
  `_HI` agree, or read them when `STATUS.busy` is 0.
* Counters are cleared by an accepted start and keep their values after the run.
"""


def _access(access: Access, locked: bool) -> str:
    return f"{access.value}, locked" if locked else access.value


def to_markdown(table: RegisterMap) -> str:
    """The page docs/registers.md for one map."""
    lines = [
        _INTRO.format(size=MAP_BYTES, ports=table.ports),
        "## Map",
        "",
        "| offset | name | access | reset | meaning |",
        "|---|---|---|---|---|",
    ]
    for register in table:
        lines.append(
            f"| 0x{register.offset:03X} | {register.name} | {_access(register.access, register.locked)} "
            f"| 0x{register.reset:X} | {register.doc} |"
        )
    lines += ["", "## Fields", "", "| register | bits | field | meaning |", "|---|---|---|---|"]
    for register in table:
        for field in register.fields:
            high = field.lsb + field.width - 1
            bits = f"{high}:{field.lsb}" if field.width > 1 else f"{high}"
            lines.append(f"| {register.name} | {bits} | {field.name} | {field.doc} |")
    lines += ["", "## Error codes (ERROR_CODE)", "", "| code | name | meaning |", "|---|---|---|"]
    lines += [f"| {code.value} | {code.name} | {code.doc} |" for code in ErrorCode]
    lines += ["", "## Error units (ERROR_INSTRUCTION.unit)", "", "| unit | name | meaning |", "|---|---|---|"]
    lines += [f"| {unit.value} | {unit.name} | {unit.doc} |" for unit in ErrorUnit]
    return "\n".join(lines) + "\n"


def to_c_header(table: RegisterMap) -> str:
    """A C header with offsets, field masks and error codes, every name prefixed ``MOESAIC_``."""
    lines = [
        "/* Generated from hw/spec/registers.py. */",
        "#ifndef MOESAIC_REGISTERS_H",
        "#define MOESAIC_REGISTERS_H",
        "",
        f"#define MOESAIC_PORTS {table.ports}",
        f"#define MOESAIC_MAP_BYTES {MAP_BYTES}",
        f"#define MOESAIC_COUNTERS {len(COUNTERS)}",
        "",
    ]
    for register in table:
        comment = f"/* {register.access.value}: {register.doc} */"
        lines.append(f"#define MOESAIC_{register.name} 0x{register.offset:03X}  {comment}")
        for field in register.fields:
            prefix = f"MOESAIC_{register.name}_{field.name.upper()}"
            lines.append(f"#define {prefix}_SHIFT {field.lsb}")
            lines.append(f"#define {prefix}_MASK 0x{field.mask:08X}u")
    lines.append("")
    lines += [f"#define MOESAIC_ERROR_{code.name} {code.value}" for code in ErrorCode]
    lines += [f"#define MOESAIC_UNIT_{unit.name} {unit.value}" for unit in ErrorUnit]
    lines += ["", "#endif"]
    return "\n".join(lines) + "\n"


def to_json(table: RegisterMap) -> dict[str, Any]:
    """One map as numbers and strings, for tools."""
    registers = [{**dataclasses.asdict(register), "access": register.access.value} for register in table]
    return {"ports": table.ports, "registers": registers}


_RDL_ACCESS = {
    Access.RO: "sw = r; hw = w;",
    Access.RW: "sw = rw; hw = r;",
    Access.W1S: "sw = w; hw = r; singlepulse;",
    Access.W1C: "sw = rw; hw = rw; onwrite = woclr;",
}


def _rdl_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def to_systemrdl(table: RegisterMap) -> str:
    """SystemRDL 2.0 of one map, for PeakRDL and other tools; a register of one number has a field ``value``.

    What SystemRDL cannot say is in the descriptions: that a register is locked while the accelerator is busy.
    """
    lines = [
        "// Generated from hw/spec/registers.py.",
        "addrmap moesaic {",
        '    name = "Moesaic accelerator";',
        "    default regwidth = 32;",
        "    default accesswidth = 32;",
        "    littleendian;",
        "",
    ]
    for register in table:
        doc = register.doc + ("; locked while STATUS.busy" if register.locked else "")
        lines += ["    reg {", f"        desc = {_rdl_text(doc)};"]
        for field in register.fields or (Field("value", 0, register.width, register.doc),):
            reset = (register.reset & field.mask) >> field.lsb
            access = "sw = r; hw = na;" if register.constant else _RDL_ACCESS[register.access]
            lines.append(
                f"        field "
                f"{{ desc = {_rdl_text(field.doc)}; {access} reset = {field.width}'h{reset:x}; }} "
                f"{field.name}[{field.lsb + field.width - 1}:{field.lsb}];"
            )
        lines.append(f"    }} {register.name} @ 0x{register.offset:03X};")
    lines += ["};"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(to_markdown(register_map(4)), end="")
