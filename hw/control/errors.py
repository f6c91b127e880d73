"""How a unit tells the supervisor what went wrong."""

from amaranth.hdl import unsigned
from amaranth.lib import data

from moesaic.hw.memory.window import ADDRESS_BITS

__all__ = ["CODE_BITS", "INDEX_BITS", "UNIT_BITS", "ErrorReport"]

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
