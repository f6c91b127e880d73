"""Hardware and description agree: every register and field of the whole accelerator; wrong descriptions are found."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from driverrig import CONFIG, Case, nano, simulate

from moesaic.hw.spec.register_text import to_json
from moesaic.hw.spec.registers import Register, RegisterMap, register_map
from moesaic.sim.verilated import SimulationFailed

Change = Callable[[Register], Register]


@pytest.fixture(scope="module")
def case() -> Case:
    return nano(1)


def description(change: dict[str, Change]) -> str:
    """The map as JSON, some registers changed."""
    table: RegisterMap = register_map(CONFIG.ports, config_hash=int(CONFIG.hash[-8:], 16))
    return json.dumps(
        to_json(
            dataclasses.replace(
                table, registers=tuple(change.get(register.name, lambda r: r)(register) for register in table)
            )
        )
    )


def check(case: Case, folder: Path, change: dict[str, Change], *, tests: str = "") -> None:
    (folder / "registers.json").write_text(description(change))
    env = {"MOESAIC_REGISTERS": str(folder / "registers.json"), **({"COCOTB_TEST_FILTER": tests} if tests else {})}
    simulate(case, folder, module="tb_register_block", limit=30_000, env=env)


def test_every_field(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path, {})


def moved(name: str, by: int) -> Change:
    """A field at another bit."""

    def change(register: Register) -> Register:
        fields = tuple(dataclasses.replace(f, lsb=f.lsb + by) if f.name == name else f for f in register.fields)
        return dataclasses.replace(register, fields=fields, width=32)

    return change


def with_(**values: object) -> Change:
    return lambda register: dataclasses.replace(register, **values)


@pytest.mark.parametrize(
    ("change", "tests", "message"),
    [
        ({"ERROR_INSTRUCTION": moved("unit", -1)}, "error", "BAD_OPCODE"),
        ({"STATUS": moved("start_refused", 1)}, "status", "STATUS: bits without a meaning"),
        ({"WATCHDOG": with_(reset=1_000_001)}, "reset_value", "WATCHDOG after reset"),
        ({"IRQ_ENABLE": with_(width=3, fields=())}, "writable", "IRQ_ENABLE after"),
        ({"RESULT_BASE_LO": with_(locked=False)}, "locked", "RESULT_BASE_LO must not be locked"),
        ({"CYCLES_LO": with_(offset=0x404), "CYCLES_HI": with_(offset=0x400)}, "counter", "cycles after the run"),
    ],
)
def test_a_wrong_description_is_found(
    case: Case, tmp_path: Path, change: dict[str, Change], tests: str, message: str
) -> None:
    with pytest.raises(SimulationFailed, match=message):
        check(case, tmp_path, change, tests=tests)
