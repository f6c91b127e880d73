"""How a unit tells the supervisor what went wrong."""

from amaranth.hdl import unsigned
from amaranth.lib import data

__all__ = ["ADDRESS_BITS", "CODE_BITS", "INDEX_BITS", "UNIT_BITS", "ErrorReport"]

ADDRESS_BITS = 64  # ERROR_ADDR_LO and ERROR_ADDR_HI
CODE_BITS = 8  # ErrorCode
UNIT_BITS = 4  # ErrorUnit, ERROR_INSTRUCTION.unit
INDEX_BITS = 24  # ERROR_INSTRUCTION.index

# valid: the other fields describe an error this cycle. address: byte address or 0. index: as its ErrorUnit says.
ErrorReport = data.StructLayout(
    {
        "valid": unsigned(1),
        "code": unsigned(CODE_BITS),
        "address": unsigned(ADDRESS_BITS),
        "unit": unsigned(UNIT_BITS),
        "index": unsigned(INDEX_BITS),
    }
)
