"""The C library of a project: its sources as they are, and the tables that the register map gives it."""

from importlib import resources

from moesaic.boards.project.render import render
from moesaic.compiler.batch import MOST_IMAGES
from moesaic.hw.spec.isa import INSTRUCTION_BYTES
from moesaic.hw.spec.register_text import to_c_header
from moesaic.hw.spec.registers import (
    COUNTERS,
    ID_VALUE,
    MAX_PORTS,
    VERSION_VALUE,
    ErrorCode,
    ErrorUnit,
    RegisterMap,
    register_map,
)

__all__ = ["c_library"]

_SOURCES = (".c", ".h", "Makefile")


def _port_bytes() -> int:
    """Bytes of registers from one port to the next."""
    table = register_map(2)
    return table["WEIGHT_BASE1_LO"].offset - table["WEIGHT_BASE0_LO"].offset


def c_library(table: RegisterMap) -> dict[str, str]:
    """Files of `include/` and `c/` by their names; `c/Makefile` makes the library and its example of them."""
    folder = resources.files("moesaic.boards") / "c"
    sources = {
        f"c/{entry.name}": entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(_SOURCES)
    }
    values = {
        "id_value": ID_VALUE,
        "version_value": VERSION_VALUE,
        "max_ports": MAX_PORTS,
        "port_bytes": _port_bytes(),
        "max_images": MOST_IMAGES,
        "instruction_bytes": INSTRUCTION_BYTES,
        "counters": COUNTERS,
        "errors": list(ErrorCode),
        "units": list(ErrorUnit),
    }
    return {
        **sources,
        "c/moesaic_tables.c": render("tables.c", **values),
        "include/moesaic_registers.h": to_c_header(table),
        "include/moesaic_tables.h": render("tables.h", **values),
    }
