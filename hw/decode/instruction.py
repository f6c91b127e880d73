"""An instruction as the units see it: a view of its fields."""

from amaranth.hdl import unsigned
from amaranth.lib import data

from moesaic.hw.spec.isa import FORMATS, INSTRUCTION_BITS, Opcode

__all__ = ["INDEX_BITS", "instruction_layout"]

INDEX_BITS = 24  # position of an instruction in its stream


def instruction_layout(opcode: Opcode) -> data.StructLayout:
    """The fields of an instruction, as `hw.spec.isa` packs them, padded to 256 bits."""
    layout = FORMATS[opcode]
    fields = {field.name: unsigned(field.bits) for field in layout.fields}
    fields["unused"] = unsigned(INSTRUCTION_BITS - layout.bits)
    return data.StructLayout(fields)
