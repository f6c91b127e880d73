"""The checks of an instruction's fields, from the table of `hw.spec.legal`."""

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Value
from amaranth.lib import data

from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import FORMATS, Opcode
from moesaic.hw.spec.legal import RULES

__all__ = ["refusals", "refused"]


def refused(opcode: Opcode, op: data.View, config: AcceleratorConfig) -> Value:
    """1 if an instruction of `opcode` means nothing on this configuration; parameters as of `refusals`."""
    return reduce(or_, refusals(opcode, op, config))


def refusals(opcode: Opcode, op: data.View, config: AcceleratorConfig) -> list[Value]:
    """Reasons why an instruction of `opcode` means nothing on this configuration: 1 for each that holds.

    Parameters
    ----------
    opcode : Opcode
    op : View of instruction_layout(opcode)
    config : AcceleratorConfig
    """
    layout = FORMATS[opcode]
    names = {field.name for field in layout.fields}

    def look(name: str) -> Any:
        return op[name] if name in names else getattr(config, name)

    # What `hw.spec.isa.decode` refuses: bits that are no field, numbers that are no name.
    malformed = [op.unused != 0]
    malformed += [
        op[field.name] > max(field.values) for field in layout.fields if field.values and field.name != "opcode"
    ]
    return [*malformed, *(rule.broken(look) for rule in RULES[opcode])]
