"""How a signal passes each kind of cell: through it, out of a register in it, into one."""

from collections.abc import Iterator
from dataclasses import dataclass

from moesaic.boards.synthesis.delays import Delays
from moesaic.boards.synthesis.netlist import FLIP_FLOPS, Cell, is_clock, is_output

__all__ = ["Arcs", "UntimedCell", "arcs_of"]

Bit = tuple[str, int]
OPERANDS = {"A", "B", "D", "AD"}  # registers in front of the multiplier


class UntimedCell(ValueError):
    """A cell whose delays are not known."""


@dataclass
class Arcs:
    """The timing of one cell, by port and index; all delays in ns.

    Parameters
    ----------
    through : list of (input, output, delay)
    launches : dict of output to clock-to-output delay
    captures : dict of input to set-up time
    """

    through: list[tuple[Bit, Bit, float]]
    launches: dict[Bit, float]
    captures: dict[Bit, float]


_LUTS = ("LUT", "INV")


def _bits(cell: Cell, *, output: bool) -> Iterator[Bit]:
    for port, nets in cell.pins.items():
        if is_output(cell.kind, port) == output and not is_clock(cell.kind, port):
            yield from ((port, index) for index, net in enumerate(nets) if net is not None)


def _all(cell: Cell, delay: float) -> Arcs:
    through = [(i, o, delay) for o in _bits(cell, output=True) for i in _bits(cell, output=False)]
    return Arcs(through, {}, {})


def _carry4(cell: Cell, d: Delays) -> Arcs:
    through = []
    for port, index in _bits(cell, output=True):
        carry = port == "CO"
        for source in ("CI", "CYINIT"):
            if cell.pins.get(source, [None])[0] is not None:
                delay = d.carry_in_carry if carry else d.carry_in_sum
                through.append(((source, 0), (port, index), delay))
        for source in ("S", "DI"):
            # The sum needs the carries of the bits below, and its own S.
            for lower in range(index + 1 if carry or source == "S" else index):
                if cell.pins[source][lower] is not None:
                    delay = d.carry_data_carry if carry else (d.lut if lower == index else d.carry_data_sum)
                    through.append(((source, lower), (port, index), delay))
    return Arcs(through, {}, {})


def _flip_flop(cell: Cell, d: Delays) -> Arcs:
    captures = {bit: d.ff_setup if bit[0] == "D" else d.ff_control for bit in _bits(cell, output=False)}
    return Arcs([], {("Q", 0): d.ff_out}, captures)


def _memory(cell: Cell, out: float, setup: float) -> Arcs:
    return Arcs([], dict.fromkeys(_bits(cell, output=True), out), dict.fromkeys(_bits(cell, output=False), setup))


def _lut_memory(cell: Cell, d: Delays) -> Arcs:
    """LUT RAM and shift registers: reads are logic, writes are clocked."""
    through, captures = [], {}
    inputs = list(_bits(cell, output=False))
    for port, index in inputs:
        data = port in ("D", "WE", "CE") or port.startswith("DI") or port == "WE2"
        if data:
            captures[port, index] = d.lutram_setup
    for out, number in _bits(cell, output=True):
        if out.startswith("DO") and len(out) == 3:
            address = f"ADDR{out[2]}"
        elif out == "DPO":
            address = "DPRA"
        else:
            address = "A"
        for port, index in inputs:
            if port == address or (port.startswith(address) and port[len(address) :].isdigit()):
                through.append(((port, index), (out, number), d.lutram_out))
    written = {"ADDRD", "ADDRH", "A"}  # the address of the write port
    for port, index in inputs:
        if port in written or (port[:1] == "A" and port[1:].isdigit()):
            captures[port, index] = d.lutram_setup
    return Arcs(through, dict.fromkeys(_bits(cell, output=True), d.lutram_clock), captures)


def _adds_before(cell: Cell) -> bool:
    """Whether the adder in front of the multiplier is used."""
    return cell.parameters.get("AMULTSEL") == "AD" or str(cell.parameters.get("USE_DPORT", "")).strip() == "TRUE"


def _dsp(cell: Cell, d: Delays) -> Arcs:
    stages = cell.stages
    outputs = [bit for bit in _bits(cell, output=True) if bit[0] in ("P", "PCOUT")]
    adds = _adds_before(cell)
    out = d.dsp_out if "P" in stages else d.dsp_add + d.dsp_out  # from the adder's operands on
    into = d.dsp_add + d.dsp_setup  # to the P register
    if "P" in stages:
        launch = d.dsp_clock_p
    elif {"M", "C"} & stages:
        launch = d.dsp_clock + out
    elif OPERANDS & stages:
        launch = d.dsp_clock + d.dsp_multiply + out
    else:
        launch = 0.0
    if OPERANDS & stages and not {"M", "P"} & stages:
        launch = max(launch, d.dsp_clock + d.dsp_multiply + out)
    captures: dict[Bit, float] = {}
    through: list[tuple[Bit, Bit, float]] = []
    for port, index in _bits(cell, output=False):
        bit = (port, index)
        before = d.dsp_in + (d.dsp_pre_add if adds and port in ("A", "D") else 0.0)
        if port in ("A", "B", "C", "D") and port in stages:
            captures[bit] = d.dsp_setup
        elif port in ("A", "D") and "AD" in stages:
            captures[bit] = before + d.dsp_setup
        elif port in ("A", "B", "D") and "M" in stages:
            captures[bit] = before + d.dsp_multiply + d.dsp_setup
        elif port in ("A", "B", "D", "C", "PCIN"):
            before = before + d.dsp_multiply if port in ("A", "B", "D") else 0.0
            if "P" in stages:
                captures[bit] = before + into
            else:
                through += [(bit, target, before + out) for target in outputs]
        else:
            captures[bit] = d.dsp_control
    return Arcs(through, dict.fromkeys(outputs, launch) if launch else {}, captures)


def dsp_internal(cell: Cell, d: Delays) -> list[tuple[str, str, float]]:
    """Register to register inside a DSP slice: (from, to, ns with set-up)."""
    stages = cell.stages
    result = []
    if "AD" in stages and {"A", "D"} & stages:
        result.append(("A", "AD", d.dsp_clock + d.dsp_pre_add + d.dsp_setup))
    if OPERANDS & stages:
        if "M" in stages:
            result.append(("A", "M", d.dsp_clock + d.dsp_multiply + d.dsp_setup))
        elif "P" in stages:
            result.append(("A", "P", d.dsp_clock + d.dsp_multiply + d.dsp_add + d.dsp_setup))
    if {"M", "C"} & stages and "P" in stages:
        result.append(("M" if "M" in stages else "C", "P", d.dsp_clock + d.dsp_add + d.dsp_setup))
    return result


def arcs_of(cell: Cell, d: Delays) -> Arcs:
    """The timing of a library cell.

    Raises
    ------
    UntimedCell
        If its type is in no table.
    """
    kind = cell.kind
    if kind.startswith(_LUTS):
        return _all(cell, d.lut)
    if kind.startswith("MUXF"):
        return _all(cell, d.mux)
    if kind == "CARRY4":
        return _carry4(cell, d)
    if kind in FLIP_FLOPS:
        return _flip_flop(cell, d)
    if kind.startswith("DSP48"):
        return _dsp(cell, d)
    if kind.startswith("RAMB"):
        return _memory(cell, d.bram_out_registered if "O" in cell.stages else d.bram_out, d.bram_setup)
    if kind.startswith("URAM"):
        return _memory(cell, d.uram_out_registered if "O" in cell.stages else d.uram_out, d.uram_setup)
    if kind.startswith(("RAM", "SRL")):
        return _lut_memory(cell, d)
    if kind in ("VCC", "GND", "$scopeinfo"):
        return Arcs([], {}, {})
    raise UntimedCell(f"cells must have known delays, not {kind!r}")
