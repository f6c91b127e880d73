"""Functions that fit on a screen or two, and files of one concept: limits in lines, and the exceptions with reasons."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("moesaic", "hw", "golden", "compiler", "sim", "boards", "examples", "tests")
FILE, FUNCTION, ELABORATE = 400, 80, 100  # lines
LONG = {  # what is longer -> why
    "boards/driver.py": "one class: what the host does with the registers, in the order in which it does it",
    "boards/synthesis/mapping.py map_modules": "one loop over modules, whose bookkeeping has no use outside",
    "compiler/cost.py estimate": "one loop over operations, whose state is the state of the whole accelerator",
    "compiler/pipeline.py compile_all": "the list of passes, and the manifest of what they made",
    "golden/qlinear.py quantise_linear": "half of it says what its parameters are",
    "hw/control/fetch.py elaborate_request": "one state machine",
    "hw/memory/weight_stream.py _store": "one state machine",
    "hw/spec/registers.py register_map": "the register map, a line for each register",
    "moesaic/flow/request.py make_request": "everything that can be asked for, once as a parameter and once as a field",
    "sim/build.py build": "the steps of one build, and what each needs of the one before",
    "tests/boards/pynq_standin.py make_module": "a module of PYNQ as a closure: what stands in for it is in one place",
    "tests/boards/test_vivado_mistakes.py": "a table of mistakes",
    "tests/cocotb/tb_ddr.py": "one memory, channel by channel",
    "tests/cocotb/tb_feeder.py": "one rig",
    "tests/cocotb/tb_loader.py": "one rig",
    "tests/cocotb/tb_sequencer.py refused": "the rules of the ISA once more in prose, independent of hw.spec.legal",
    "tests/cocotb/tb_writeback.py": "one rig",
    "tests/sim/test_functional.py": "one simulator, instruction by instruction",
}


def too_long(name: str, source: str) -> Iterator[str]:
    """Names of a file, and of functions in it, that are longer than they may be."""
    if len(source.splitlines()) > FILE:
        yield name
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > (ELABORATE if node.name == "elaborate" else FUNCTION):
                yield f"{name} {node.name}"


def test_planted_lengths_are_found() -> None:
    def function(name: str, lines: int) -> str:
        return f"def {name}():\n" + "    x = 1\n" * (lines - 1)

    assert not [*too_long("a.py", function("f", 80) + function("elaborate", 100))]
    assert [*too_long("a.py", function("f", 81) + function("elaborate", 101))] == ["a.py f", "a.py elaborate"]
    assert [*too_long("a.py", "class A:\n    async def f():\n" + "        x = 1\n" * 80)] == ["a.py f"]
    assert not [*too_long("a.py", "x = 1\n" * 400)] and [*too_long("a.py", "x = 1\n" * 401)] == ["a.py"]


def test_lengths() -> None:
    found = {
        long
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for long in too_long(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    }
    new, gone = sorted(found - LONG.keys()), sorted(LONG.keys() - found)
    assert not new, f"split {new}, or say here why it is longer"
    assert not gone, f"no longer too long, so no longer in this list: {gone}"
