"""A mapped netlist as timing sees it: nets, pins, and the registers that a tool moves into DSP slices and block RAM."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from moesaic.boards.synthesis.modules import Module

__all__ = ["Cell", "Netlist", "Pin"]

Net = int
FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")
_CLOCKS = {
    "CLK",
    "WCLK",
    "CLKARDCLK",
    "CLKBWRCLK",
    "CLKARDCLKU",
    "CLKARDCLKL",
    "CLKBWRCLKU",
    "CLKBWRCLKL",
    "CLKA",
    "CLKB",
}
_OUTPUTS = {
    "O",
    "Q",
    "Q15",
    "Q31",
    "O5",
    "O6",
    "SPO",
    "DPO",
    "CO",
    "P",
    "PCOUT",
    "ACOUT",
    "BCOUT",
    "CARRYOUT",
    "CARRYCASCOUT",
    "G",
}
_OUTPUT_STARTS = (
    "DO",
    "CASDO",
    "CASO",
    "CAS_OUT",
    "DBITERR",
    "SBITERR",
    "PATTERN",
    "OVERFLOW",
    "UNDERFLOW",
    "MULTSIGN",
    "XOROUT",
    "RDACCESS",
    "ECCPARITY",
    "CAS_DOUT",
    "RDADDRECC",
)


@dataclass(frozen=True)
class Pin:
    """One bit of a port of a cell."""

    cell: str
    port: str
    index: int


@dataclass
class Cell:
    """A cell: its type, parameters (numbers where they are), and the nets on its ports (None: a constant).

    ``stages`` says which registers inside it are used (those of a DSP slice by their names, ``O`` for a memory's
    output), by its parameters or moved in.
    """

    name: str
    kind: str
    parameters: Mapping[str, str]
    pins: dict[str, list[Net | None]]
    stages: set[str] = field(default_factory=set)


def is_output(kind: str, port: str) -> bool:
    """Whether a port of a library cell is an output."""
    if kind.startswith("CARRY"):
        return port in ("CO", "O")
    return port in _OUTPUTS or port.startswith(_OUTPUT_STARTS)


def is_clock(kind: str, port: str) -> bool:
    """Whether a port of a library cell is a clock."""
    return port in _CLOCKS or (port == "C" and kind in FLIP_FLOPS)


class Netlist:
    """Cells and nets of one module.

    Parameters
    ----------
    module : Module
    raw : dict
        As `worker` writes it.
    modules : mapping of str to Module
        What it may place.

    Members
    -------
    cells : dict of str to Cell
    inputs, outputs : dict of (port, index) to net
        Constants are absent.
    loads : dict of net to list of Pin
        Inputs of cells and children; clocks of cells are absent.
    absorbed : int
        Flip-flops that were moved into DSP slices and block RAM.
    """

    def __init__(self, module: Module, raw: Mapping[str, Any], modules: Mapping[str, Module]) -> None:
        self.module, self.modules = module, modules
        self.cells: dict[str, Cell] = {}
        self.absorbed = 0
        for name, (kind, parameters, connections) in raw["cells"].items():
            pins = {port: [bit if isinstance(bit, int) else None for bit in bits] for port, bits in connections.items()}
            self.cells[name] = Cell(name, kind, parameters, pins)
        self.inputs: dict[tuple[str, int], Net] = {}
        self.outputs: dict[tuple[str, int], Net] = {}
        for port, (direction, bits) in raw["ports"].items():
            side = self.outputs if direction == "output" else self.inputs
            side.update({(port, index): bit for index, bit in enumerate(bits) if isinstance(bit, int)})
        self._names: dict[Net, str] = {}
        for name, bits in raw["nets"].items():
            for index, bit in enumerate(bits):
                if isinstance(bit, int):
                    text = name if len(bits) == 1 else f"{name}[{index}]"
                    old = self._names.get(bit)
                    if old is None or ("$" in old, len(old)) > ("$" in text, len(text)):
                        self._names[bit] = text
        self.loads: dict[Net, list[Pin]] = defaultdict(list)
        for cell in self.cells.values():
            for pin, net in self.input_pins(cell):
                self.loads[net].append(pin)
        self._port_nets = set(self.outputs.values())
        self._absorb()

    def name(self, net: Net) -> str:
        """The best name of a net: without ``$`` and short, or nothing."""
        return self._names.get(net, "")

    def is_child(self, cell: Cell) -> bool:
        return cell.kind in self.modules

    def input_pins(self, cell: Cell) -> Iterator[tuple[Pin, Net]]:
        """Data inputs of a cell that are not constant."""
        if self.is_child(cell):
            inputs = {port.name for port in self.modules[cell.kind].ports if not port.output}
        else:
            inputs = {port for port in cell.pins if not is_output(cell.kind, port) and not is_clock(cell.kind, port)}
        for port in cell.pins:
            if port in inputs:
                for index, net in enumerate(cell.pins[port]):
                    if net is not None:
                        yield Pin(cell.name, port, index), net

    def output_pins(self, cell: Cell) -> Iterator[tuple[Pin, Net]]:
        """Outputs of a cell that drive a net."""
        if self.is_child(cell):
            outputs = {port.name for port in self.modules[cell.kind].ports if port.output}
        else:
            outputs = {port for port in cell.pins if is_output(cell.kind, port)}
        for port in cell.pins:
            if port in outputs:
                for index, net in enumerate(cell.pins[port]):
                    if net is not None:
                        yield Pin(cell.name, port, index), net

    # --- registers that move ---

    def _follower(self, net: Net) -> Cell | None:
        """The flip-flop whose D is all that a net drives."""
        loads = self.loads.get(net, [])
        if len(loads) != 1 or net in self._port_nets:
            return None
        cell = self.cells[loads[0].cell]
        return cell if cell.kind in FLIP_FLOPS and loads[0].port == "D" else None

    def _control(self, cell: Cell) -> tuple[str, Any, Any, Any]:
        reset = {"FDRE": "R", "FDSE": "S", "FDCE": "CLR", "FDPE": "PRE"}[cell.kind]
        return cell.kind, cell.pins["C"][0], cell.pins["CE"][0], cell.pins[reset][0]

    def _absorb_after(self, cell: Cell, ports: tuple[str, ...]) -> bool:
        """Move the flip-flops behind all used outputs into the cell, if they are alike; says whether it did."""
        used = [
            (port, index, net)
            for port in ports
            for index, net in enumerate(cell.pins.get(port, []))
            if net is not None and (self.loads.get(net) or net in self._port_nets)
        ]
        followers = [self._follower(net) for _, _, net in used]
        if not used or any(follower is None for follower in followers):
            return False
        registers = [follower for follower in followers if follower is not None]
        if len({self._control(register) for register in registers}) != 1 or registers[0].kind != "FDRE":
            return False
        for (port, index, _), register in zip(used, registers, strict=True):
            cell.pins[port][index] = register.pins["Q"][0]
            self._remove(register)
        for control, port in (("CE", f"CE{len(cell.stages)}_moved"), ("R", f"RST{len(cell.stages)}_moved")):
            control_net = registers[0].pins[control][0]
            if control_net is not None:
                cell.pins[port] = [control_net]
                self.loads[control_net].append(Pin(cell.name, port, 0))
        return True

    def _absorb_before(self, cell: Cell, port: str, drivers: Mapping[Net, Cell]) -> bool:
        """Move the flip-flops in front of an operand of a DSP slice into it, if operands are all that they drive."""
        used = [(index, net) for index, net in enumerate(cell.pins.get(port, [])) if net is not None]
        registers = [drivers.get(net) for _, net in used]
        if not used or any(register is None or register.kind not in FLIP_FLOPS for register in registers):
            return False
        sources = [register for register in registers if register is not None]
        if len({self._control(source) for source in sources}) != 1 or sources[0].kind != "FDRE":
            return False
        for _, net in used:
            if net in self._port_nets or any(
                not self.cells[load.cell].kind.startswith("DSP48") or load.port not in ("A", "B")
                for load in self.loads[net]
            ):
                return False
        for (index, net), source in zip(used, sources, strict=True):
            self.loads[net] = [load for load in self.loads[net] if load != Pin(cell.name, port, index)]
            data = source.pins["D"][0]
            cell.pins[port][index] = data
            if data is not None:
                self.loads[data].append(Pin(cell.name, port, index))
            if not self.loads[net] and source.name in self.cells:
                self._remove(source)
        for control, name in (("CE", f"CE{port}_moved"), ("R", f"RST{port}_moved")):
            control_net = sources[0].pins[control][0]
            if control_net is not None:
                cell.pins[name] = [control_net]
                self.loads[control_net].append(Pin(cell.name, name, 0))
        return True

    def _remove(self, register: Cell) -> None:
        for port in ("D", "CE", "R"):
            net = register.pins[port][0]
            if net is not None:
                self.loads[net] = [load for load in self.loads[net] if load.cell != register.name]
        del self.cells[register.name]
        self.absorbed += 1

    def _absorb(self) -> None:
        """Move registers into DSP slices and block RAM as Vivado does (UG901); Yosys leaves them outside on
        UltraScale+.
        """
        drivers = {
            cell.pins["Q"][0]: cell
            for cell in self.cells.values()
            if cell.kind in FLIP_FLOPS and cell.pins["Q"][0] is not None
        }
        for cell in list(self.cells.values()):
            if cell.kind.startswith("DSP48"):
                cell.stages |= {stage for stage in ("A", "B", "C", "D", "AD", "M", "P") if _number(cell, f"{stage}REG")}
                for port in "AB":
                    if port not in cell.stages and self._absorb_before(cell, port, drivers):
                        cell.stages.add(port)
                if "P" not in cell.stages and self._absorb_after(cell, ("P",)):
                    cell.stages.add("P")
                    if "M" not in cell.stages and self._absorb_after(cell, ("P",)):
                        cell.stages.add("M")
            elif cell.kind.startswith(("RAMB", "URAM")):
                registered = any(_number(cell, parameter) for parameter in ("DOA_REG", "DOB_REG", "OREG_A", "OREG_B"))
                if registered or self._absorb_after(cell, tuple(port for port in cell.pins if port.startswith("DO"))):
                    cell.stages.add("O")


def _number(cell: Cell, parameter: str) -> int:
    text = cell.parameters.get(parameter, "0")
    try:
        return int(text, 2)
    except ValueError:
        return int(text.strip().upper() == "TRUE")
