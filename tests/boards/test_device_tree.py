"""Device trees of every board, compiled by `dtc` with what the board's own tree has; planted mistakes are refused."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from moesaic.boards.board import BoardError, board_names, load_board
from moesaic.boards.project.device_tree import TREES, device_tree

CHECKS = (
    "reg_format",
    "ranges_format",
    "interrupts_property",
    "interrupt_provider",
    "unit_address_vs_reg",
    "simple_bus_reg",
)
WITH_LINUX = [name for name in board_names() if load_board(name).family in TREES]
needs_dtc = pytest.mark.skipif(
    shutil.which("dtc") is None, reason="dtc is missing: apt-get install device-tree-compiler"
)


def root(cells: int, controller: str, clock: str) -> str:
    """What a kernel's tree of the family has of its own."""
    label = clock.split()[0].removeprefix("&")
    number = f"#address-cells = <{cells}>; #size-cells = <{cells}>;"
    address = " ".join([*["0x0"] * (cells - 1), "0xf0000000", *["0x0"] * (cells - 1), "0x1000"])
    return f"""/dts-v1/;
/ {{
    {number}
    interrupt-parent = <&{controller}>;
    {label}: clock {{ #clock-cells = <1>; }};
    fpga_full: fpga-full {{ {number} ranges; }};
    amba: axi {{
        compatible = "simple-bus";
        {number}
        ranges;
        {controller}: interrupt-controller@f0000000 {{
            reg = <{address}>;
            #address-cells = <0>;
            #interrupt-cells = <3>;
            interrupt-controller;
        }};
    }};
}};
"""


def dtc(folder: Path, text: str) -> tuple[int, str]:
    path = folder / "whole.dts"
    path.write_text(text)
    errors = [word for check in CHECKS for word in ("-E", check)]
    done = subprocess.run(
        ["dtc", *errors, "-@", "-I", "dts", "-O", "dts", path], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def whole(name: str) -> str:
    """The family's tree, the reservation, and the overlay as a part of the tree: so cells are checked against it."""
    board = load_board(name)
    tree, files = TREES[board.family], device_tree(board)
    overlay = files["linux/moesaic.dtso"].replace("/dts-v1/;", "").replace("/plugin/;", "")
    return root(tree.cells, tree.controller, tree.clock) + files["linux/reserved-memory.dtsi"] + overlay


@needs_dtc
@pytest.mark.parametrize("name", WITH_LINUX)
def test_trees_compile(tmp_path: Path, name: str) -> None:
    status, said = dtc(tmp_path, whole(name))
    assert status == 0, said
    path = tmp_path / "moesaic.dtso"
    path.write_text(device_tree(load_board(name))["linux/moesaic.dtso"])
    subprocess.run(["dtc", "-@", "-I", "dts", "-O", "dtb", "-o", tmp_path / "moesaic.dtbo", path], check=True)


@pytest.mark.parametrize("name", WITH_LINUX)
def test_the_reservation_has_the_cells_of_its_root(name: str) -> None:
    """With others, a kernel ignores it."""
    board = load_board(name)
    cells, text = {"zynqmp": 2, "zynq7000": 1}[board.family], device_tree(board)["linux/reserved-memory.dtsi"]
    assert f"#address-cells = <{cells}>" in text and f"#size-cells = <{cells}>" in text
    high = "0x0 " * (cells - 1)
    assert f"reg = <{high}{board.memory.window_base:#x} {high}{board.memory.window_bytes:#x}>;" in text


@needs_dtc
@pytest.mark.parametrize("name", ["pynq-z2", "kv260"])
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("reg = <", "reg = <0x0 "),  # cells of another root
        ("interrupts = <0 4>", "interrupts = <0 0 4>"),  # those of the processors' controller
        ("interrupt-parent = <&moesaic_intc>;", "interrupt-parent = <&moesaic_memory>;"),
        ("interrupt-controller;", ""),
        ("&amba", "&absent"),
        ("accelerator@10000000", "accelerator"),
    ],
)
def test_mistakes_are_refused(tmp_path: Path, name: str, good: str, bad: str) -> None:
    text = whole(name)
    assert good in text
    start = text.index("reserved-memory")
    status, _ = dtc(tmp_path, text[:start] + text[start:].replace(good, bad))
    assert status != 0


@needs_dtc
@pytest.mark.parametrize("name", ["pynq-z2", "kv260"])
def test_a_missing_interrupt_parent_is_refused(tmp_path: Path, name: str) -> None:
    """Without it, the specifier of one controller is read as that of another."""
    status, said = dtc(tmp_path, whole(name).replace("interrupt-parent = <&moesaic_intc>;", ""))
    assert status != 0 and "interrupts" in said


def test_a_card_has_no_device_tree() -> None:
    assert device_tree(load_board("u280")) == {} and len(WITH_LINUX) == len(board_names()) - 1


@pytest.mark.parametrize(("name", "base"), [("pynq-z2", 0x0400_0000), ("kv260", 0x1400_0000)])
def test_a_window_over_the_kernel_is_refused(name: str, base: int) -> None:
    board = load_board(name)
    with pytest.raises(BoardError, match=r"window_base and window_bytes must not overlap the kernel's 0x"):
        device_tree(replace(board, memory=replace(board.memory, window_base=base)))
