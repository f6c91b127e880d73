"""The driver on the functional simulator: places, arguments, and what ordinary code sees."""

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driverrig import CONFIG, Case, nano

from moesaic.boards import loop
from moesaic.boards.driver import Driver
from moesaic.boards.errors import AcceleratorBusy, AcceleratorError, BusError, RunIncomplete, RunLost, RunTimeout
from moesaic.boards.place import bytes_needed, place
from moesaic.boards.runtime import Accelerator, load_program_folder
from moesaic.compiler.image import PAGE_BYTES, ProgramImageError
from moesaic.errors import InputError
from moesaic.hw.spec import isa
from moesaic.hw.spec.registers import ErrorCode, ErrorUnit, register_map
from moesaic.sim.device import FunctionalDevice, FunctionalTransport, open_simulated


@pytest.fixture(scope="module")
def case() -> Case:
    return nano()


@pytest.fixture
def accelerator(case: Case) -> Iterator[Accelerator]:
    with Accelerator(FunctionalTransport(CONFIG), case.program, timeout=0.3) as opened:
        yield opened


def test_places_do_not_overlap(case: Case) -> None:
    found = place(case.program, 0x2000_0000, slots=3)
    program, end = found.program, 0x2000_0000 + found.bytes
    assert found.bytes == bytes_needed(case.program, 3)
    sizes = [*(program.region(f"image.{port}").bytes for port in range(CONFIG.ports)), program.region("result").bytes]
    taken = [(r["address"], r["address"] + r["bytes"]) for r in program.manifest["regions"]]
    for slot in found.slots[1:]:
        taken += [(at, at + size) for at, size in zip((*slot.images, slot.result), sizes, strict=True)]
    taken.sort()
    assert all(low % PAGE_BYTES == 0 and high <= end for low, high in taken) and taken[0][0] >= 0x2000_0000
    assert all(high <= low for (_, high), (low, _) in itertools.pairwise(taken))
    assert found.slots[0].result == program.region("result").address


def test_a_moved_program_is_the_same_program(case: Case) -> None:
    by = 0x2000_0000
    moved = place(case.program, case.program.address + by, slots=1).program
    assert (
        moved.memory is case.program.memory
        and moved.manifest["memory_sha256"] == case.program.manifest["memory_sha256"]
    )
    before, after = case.program.registers("y"), moved.registers("y")
    bases = {name for name in before if "base" in name}
    assert {name: after[name] - before[name] for name in before} == {
        name: by if name in bases else 0 for name in before
    }
    assert (
        case.program.address == case.program.region(case.program.manifest["regions"][0]["name"]).address
    )  # not changed


@pytest.mark.parametrize(
    ("address", "slots", "message"),
    [
        (0x1000, 0, "slots must be 1 or more, not 0"),
        (0x1010, 1, "address must be a multiple of 4096, not 0x1010"),
        (-4096, 1, "address must be a multiple of 4096, not -0x1000"),
        (
            (1 << 40) - 4096,
            2,
            r"address must leave 0x[0-9a-f]+ bytes below 0x10000000000, what the accelerator can address",
        ),
    ],
)
def test_bad_places(case: Case, address: int, slots: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        place(case.program, address, slots=slots)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slots": 0}, "slots must be a whole number, 1 or more, not 0"),
        ({"slots": 1.5}, "slots must be a whole number, 1 or more, not 1.5"),
        ({"watchdog": -1}, r"watchdog must be a whole number from 0 to 2\*\*32 - 1, not -1"),
        ({"watchdog": 1 << 32}, r"watchdog must be a whole number from 0 to 2\*\*32 - 1, not 4294967296"),
        ({"watchdog": 1e6}, r"watchdog must be a whole number from 0 to 2\*\*32 - 1, not 1000000.0"),
        ({"retries": -1}, "retries must be a whole number, 0 or more, not -1"),
        ({"timeout": 0}, "timeout must be a positive number of seconds, not 0"),
        ({"timeout": float("nan")}, "timeout must be a positive number of seconds, not nan"),
        ({"timeout": float("inf")}, "timeout must be a positive number of seconds, not inf"),
        ({"timeout": "10"}, "timeout must be a positive number of seconds, not '10'"),
    ],
)
def test_bad_options(case: Case, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Driver(FunctionalTransport(CONFIG), case.program, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"watchdog": 1 << 32}, "watchdog must be a whole number from 0"),
        ({"timeout": float("nan")}, "timeout must be a positive number of seconds, not nan"),
        ({"retries": -1}, "retries must be a whole number, 0 or more, not -1"),
        ({"overrides": {"store_count": 1 << 32}}, "store_count must be a whole number from 0"),
        ({"overrides": {"result_base": -1}}, r"result_base must be a whole number from 0 to 2\*\*64 - 1, not -1"),
        ({"overrides": {"stores": 1}}, "register value must be one of id, version, .*, not 'stores'"),
        ({"image": [[1, 2], [3, 4]]}, r"image must be uint8 \[3, 16, 16\], not list"),
        ({"image": None, "task": "flow"}, "task must be one of x, y, not 'flow'"),
    ],
)
def test_bad_options_of_a_run_start_nothing(
    case: Case, accelerator: Accelerator, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        loop.run(accelerator.driver.run(**{"task": "x", "image": case.images[0], **options}))
    assert str(accelerator.status()).startswith("STATUS idle")
    for image in ([[1, 2], [3]], [[1, 2], [3, 4]], None, "street.png"):
        with pytest.raises(InputError, match="image must be uint8 RGB"):
            accelerator.run(image)
    assert np.array_equal(accelerator.run(case.images[0]).tokens, case.expected("x", 0))


def test_a_run_that_was_not_all_of_its_program(case: Case, accelerator: Accelerator) -> None:
    """It ends `done`, but its result region holds what lay there before."""
    device, result = accelerator.driver.transport.device, case.program.region("result").bytes
    accelerator.run(case.images[1])
    with pytest.raises(RunIncomplete, match=f"store_bytes must be {result:,}, not 0") as error:
        loop.run(accelerator.driver.run("x", case.images[0], overrides={"store_count": 0}))
    assert set(error.value.counts) == {"store_bytes", "instructions_retired"}
    assert np.array_equal(accelerator.run(case.images[0]).tokens, case.expected("x", 0))
    device.words["STORE_COUNT"] = 0  # a bit that another program, or radiation, changed
    prediction = accelerator.run(case.images[0], retries=1)
    assert np.array_equal(prediction.tokens, case.expected("x", 0))
    assert len(prediction.failures) == 1 and prediction.failures[0].startswith("INCOMPLETE: ")
    device.words["STORE_COUNT"] = 0
    with pytest.raises(RunIncomplete):
        list(accelerator.stream((image, "x") for image in case.images))
    assert np.array_equal(accelerator.run(case.images[0]).tokens, case.expected("x", 0))


@pytest.mark.parametrize(("stream", "field", "name"), [("store", "words", "store_bytes"), ("compute", "mark", "marks")])
def test_a_flipped_bit_that_leaves_something_out(
    case: Case, accelerator: Accelerator, stream: str, field: str, name: str
) -> None:
    place = next(
        at
        for k in range(case.program.task("x")[stream]["count"])
        if fetch(accelerator, at := accelerator.program.task("x")[stream]["address"] + 32 * k)[1].get(field)
    )
    opcode, fields = fetch(accelerator, place)
    patch(accelerator, place, isa.encode(opcode, {**fields, field: fields[field] & (fields[field] - 1)}))
    with pytest.raises(RunIncomplete, match=f"INCOMPLETE: {name} must be"):
        accelerator.run(case.images[0])
    prediction = accelerator.run(case.images[0], retries=1)  # loads the program again
    assert np.array_equal(prediction.tokens, case.expected("x", 0)) and len(prediction.failures) == 1


@pytest.mark.parametrize("bit", range(4, 40))
def test_a_flipped_bit_in_the_offset_of_a_store(case: Case, accelerator: Accelerator, bit: int) -> None:
    """Nothing but the result region is ever written."""
    device, place = accelerator.driver.transport.device, accelerator.program.task("x")["store"]["address"]
    opcode, fields = fetch(accelerator, place)
    patch(accelerator, place, isa.encode(opcode, {**fields, "offset": fields["offset"] ^ 1 << bit}))
    loop.run(accelerator.driver.write_image(case.images[0]))
    before = device.memory.copy()
    with pytest.raises(AcceleratorError) as error:
        loop.run(accelerator.driver.run("x"))
    inside = 1 << bit < len(device.memory) - (accelerator.program.region("result").address - device.address)
    assert inside or bit >= 12, "the window goes on behind the result: there is a second slot"
    assert error.value.code is (ErrorCode.RESULT_RANGE if inside else ErrorCode.ADDRESS_RANGE)
    assert np.array_equal(device.memory, before)


def fetch(accelerator: Accelerator, address: int) -> tuple[isa.Opcode, dict[str, int]]:
    return isa.decode(loop.run(accelerator.driver.transport.read_memory(address, isa.INSTRUCTION_BYTES)))


def patch(accelerator: Accelerator, address: int, data: bytes) -> None:
    loop.run(accelerator.driver.transport.write_memory(address, data))


def test_wrong_use_is_said(case: Case, accelerator: Accelerator) -> None:
    with pytest.raises(RuntimeError, match="driver must be opened first"):
        _ = Driver(FunctionalTransport(CONFIG), case.program).program
    with pytest.raises(ValueError, match="task must be one of x, y, not 'flow'"):
        accelerator.run(case.images[0], "flow")
    with pytest.raises(
        ValueError, match=r"image must be uint8 RGB, \[16, 16, 3\] or \[3, 16, 16\], not float64 \[16, 16, 3\]"
    ):
        accelerator.run(np.zeros((16, 16, 3)))
    with pytest.raises(ValueError, match="slot must be from 0 to 1, not 2"):
        loop.run(accelerator.driver.run("x", slot=2))
    loop.run(accelerator.driver.submit("x", case.images[0]))
    with pytest.raises(RuntimeError, match="run must wait for what was submitted"):
        accelerator.run(case.images[0])
    assert np.array_equal(
        case.program.unpack_result(loop.run(accelerator.driver.collect()).result), case.expected("x", 0)
    )
    assert np.array_equal(accelerator.run(case.images[1]).tokens, case.expected("x", 1))


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_any_number_of_slots(case: Case, slots: int) -> None:
    with Accelerator(FunctionalTransport(CONFIG), case.program, slots=slots) as accelerator:
        tasks = ["x", "y", "y", "x"]
        for number, result in enumerate(accelerator.stream(zip(case.images, tasks, strict=True))):
            assert np.array_equal(result.tokens, case.expected(tasks[number], number)), number


def test_a_source_that_fails_in_the_middle(case: Case, accelerator: Accelerator) -> None:
    def images() -> Iterator[tuple[np.ndarray, str]]:
        yield case.images[0], "x"
        raise OSError("the camera was unplugged")

    with pytest.raises(OSError, match="unplugged"):
        list(accelerator.stream(images()))
    assert not accelerator.status().flag("busy")
    assert np.array_equal(accelerator.run(case.images[1], "y").tokens, case.expected("y", 1))


def test_a_hang_ends_in_time_and_retries_end_too(case: Case, accelerator: Accelerator) -> None:
    accelerator.driver.transport.device.hang = True
    begun = time.monotonic()
    with pytest.raises(RunTimeout, match="within 0.05 s"):
        accelerator.run(case.images[0], retries=2, timeout=0.05)
    assert 0.1 < time.monotonic() - begun < 5
    with pytest.raises(RunTimeout):
        list(accelerator.stream((image, "x") for image in case.images))
    accelerator.driver.transport.device.hang = False
    assert np.array_equal(accelerator.run(case.images[0]).tokens, case.expected("x", 0))


def test_registers_that_lost_their_values(case: Case, accelerator: Accelerator) -> None:
    """A reset between two runs is noticed; a single register that another program changed costs one run."""
    device = accelerator.driver.transport.device
    accelerator.run(case.images[0], "y")
    device.words |= {register.name: register.reset for register in device.table}
    assert np.array_equal(accelerator.run(case.images[0], "y").tokens, case.expected("y", 0))
    device.words["LOAD_BASE_LO"] = 0
    with pytest.raises(AcceleratorError, match="ADDRESS_RANGE"):
        accelerator.run(case.images[0], "y")
    assert np.array_equal(accelerator.run(case.images[0], "y").tokens, case.expected("y", 0))


def test_another_process_has_left_a_run(case: Case) -> None:
    """What is running when the driver opens is ended first."""
    transport = FunctionalTransport(CONFIG)
    transport.device.hang = True
    transport.device.write(register_map(1)["CTRL"].offset, 1)
    transport.device.hang = False
    with Accelerator(transport, case.program) as accelerator:
        assert str(accelerator.status()).startswith("STATUS idle")
        assert np.array_equal(accelerator.run(case.images[2]).tokens, case.expected("x", 2))


def test_a_driver_that_is_opened_again(case: Case) -> None:
    driver = Driver(FunctionalTransport(CONFIG), case.program)
    for number in range(2):
        loop.run(driver.open())
        result = loop.run(driver.run("y", case.images[number]))
        assert driver.transport.device.words["IRQ_ENABLE"] == driver.table["IRQ_ENABLE"].mask
        assert np.array_equal(case.program.unpack_result(result.result), case.expected("y", number))
        loop.run(driver.close())


def test_exceptions_say_what_they_must() -> None:
    error = AcceleratorError(ErrorCode.READ_SLVERR, ErrorUnit.LOAD, 7, 0x1000, draining=True)
    assert str(error) == (
        "READ_SLVERR: a data read was answered with SLVERR or EXOKAY, or RLAST was on the wrong beat "
        "(load unit, instruction 7, address 0x1000; the bus still owes responses)"
    )
    assert isinstance(RunTimeout(1, "", idle=True), TimeoutError) and "bus owes" in str(RunTimeout(1, "", idle=False))
    assert str(BusError("write of 0x4", 2)) == "write of 0x4 was answered with SLVERR"
    assert str(RunIncomplete({"marks": (3, 2)})).startswith("INCOMPLETE: marks must be 3, not 2; ")
    assert "reset input" in str(RunLost("HARDWARE_RESET", "")) and issubclass(AcceleratorBusy, RuntimeError)


def test_the_device_refuses_as_the_hardware_does(case: Case) -> None:
    device, table = FunctionalDevice(CONFIG), register_map(1)
    for offset, response in ((0x00C, 2), (0x002, 2), (0x1000, 3)):
        for access in (lambda o: device.read(o), lambda o: device.write(o, 0)):
            with pytest.raises(BusError) as error:
                access(offset)
            assert error.value.response == response
    with pytest.raises(BusError):
        device.write(table["STATUS"].offset, 0)
    device.write(table["CTRL"].offset, table["CTRL"]["start"].mask)
    with pytest.raises(BusError):
        device.write(table["WATCHDOG"].offset, 5)
    device.write(table["CTRL"].offset, table["CTRL"]["start"].mask)
    layout = table["STATUS"]
    assert device.read(layout.offset) == layout["busy"].mask | layout["start_refused"].mask


def test_ordinary_code_inside_a_running_loop(case: Case) -> None:
    """As in a notebook, whose loop runs already."""

    async def cell() -> np.ndarray:
        with Accelerator(FunctionalTransport(CONFIG), case.program) as accelerator:
            return accelerator.run(case.images[0]).tokens

    assert np.array_equal(asyncio.run(cell()), case.expected("x", 0))


def test_an_interrupted_wait_cancels_what_it_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    submit = asyncio.run_coroutine_threadsafe

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    class Interrupted:
        """A future of which the waiting is interrupted."""

        def __init__(self, *arguments: object) -> None:
            self.future = submit(*arguments)
            self.cancel = self.future.cancel

        def result(self) -> None:
            time.sleep(0.05)
            raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert ended.wait(5)
    assert sum(thread.name == "moesaic" for thread in threading.enumerate()) == 1


def test_a_program_folder(case: Case, tmp_path: Path) -> None:
    case.program.save(tmp_path)
    program, heads = load_program_folder(tmp_path)
    assert program.memory == case.program.memory and heads is None
    accelerator = open_simulated(tmp_path)
    assert accelerator.run(case.images[0]).map is None and accelerator.image_size == (16, 16)
    accelerator.close()
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(ProgramImageError, match=r"manifest.json must be a readable JSON file, not .* \(No such file"):
        load_program_folder(tmp_path)
