"""Device trees for Linux: what each family's tree calls things and how many cells it has, and the board's addresses in
them.
"""

from dataclasses import dataclass

from moesaic.boards.board import REGISTERS_BYTES, Board
from moesaic.boards.project.quote import Quoted
from moesaic.boards.project.render import render
from moesaic.boards.section import BoardError

__all__ = ["TREES", "Tree", "device_tree"]


@dataclass(frozen=True)
class Tree:
    """The device tree of a family's kernel.

    Parameters
    ----------
    cells : int
        Of an address and of a size, in the root and on the bus.
    controller : str
        Label of the interrupt controller of the processors.
    interrupt : int
        Shared peripheral interrupt of the fabric's first line.
    clock : str
        Phandle and number of the fabric's first clock.
    manager : str
        Label of what loads a bitstream with an overlay.
    kernel : tuple of int
        First byte, and the one behind the last, of where U-Boot puts a kernel.
    """

    cells: int
    controller: str
    interrupt: int
    clock: str
    manager: str
    kernel: tuple[int, int]


TREES = {  # of families with processors
    "zynqmp": Tree(2, "gic", 89, "&zynqmp_clk 71", "fpga_full", (0x1800_0000, 0x2000_0000)),
    "zynq7000": Tree(1, "intc", 29, "&clkc 15", "fpga_full", (0, 0x0800_0000)),
}


def _cells(number: int, cells: int) -> Quoted:
    """A number in 32-bit cells, the upper one first."""
    return Quoted(" ".join(f"0x{number >> 32 * k & 0xFFFF_FFFF:x}" for k in reversed(range(cells))))


def device_tree(board: Board) -> dict[str, str]:
    """Files of `linux/` by their names: the reservation, which belongs into the tree that the kernel starts with, the
    overlay that goes with the bitstream, and what `xmutil` wants beside it. None where no Linux runs on the board.

    Raises
    ------
    BoardError
        If the window lies where U-Boot puts the kernel.
    """
    if board.family not in TREES:
        return {}
    tree, memory = TREES[board.family], board.memory
    first, end = memory.window_base, memory.window_base + memory.window_bytes
    if first < tree.kernel[1] and end > tree.kernel[0]:
        raise BoardError(
            f"memory.window_base and window_bytes must not overlap the kernel's {tree.kernel[0]:#x} to "
            f"{tree.kernel[1]:#x}, not {first:#x} to {end:#x}"
        )
    values = {
        "board": board,
        "tree": tree,
        "window": Quoted(f"{_cells(first, tree.cells)} {_cells(memory.window_bytes, tree.cells)}"),
        "registers": Quoted(f"{_cells(board.ports.registers_base, tree.cells)} {_cells(REGISTERS_BYTES, tree.cells)}"),
        "interrupts": Quoted(f"{_cells(board.ports.interrupt_base, tree.cells)} {_cells(REGISTERS_BYTES, tree.cells)}"),
        "window_at": Quoted(f"{first:x}"),
        "registers_at": Quoted(f"{board.ports.registers_base:x}"),
        "interrupts_at": Quoted(f"{board.ports.interrupt_base:x}"),
        "family": Quoted("zynqmp" if board.family == "zynqmp" else "zynq"),
        "controller": Quoted(tree.controller),
        "clock": Quoted(tree.clock),
        "manager": Quoted(tree.manager),
    }
    return {
        "linux/reserved-memory.dtsi": render("reserved-memory.dtsi", **values),
        "linux/moesaic.dtso": render("moesaic.dtso", **values),
        "linux/moesaic.bif": render("moesaic.bif", **values),
        "linux/shell.json": '{\n    "shell_type": "XRT_FLAT",\n    "num_slots": "1"\n}\n',
    }
