"""The host's side: one driver for the board, for the simulated RTL and for the functional simulator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moesaic.boards.checks import (
    check_count,
    check_done,
    check_identity,
    check_seconds,
    check_value,
    expected_counters,
)
from moesaic.boards.concerned import concerned, in_words
from moesaic.boards.errors import (
    AcceleratorBusy,
    AcceleratorError,
    BusError,
    RunIncomplete,
    RunLost,
    RunTimeout,
)
from moesaic.boards.place import Placement, Slot, bytes_needed, place
from moesaic.boards.status import STATUS_VALUES, Status
from moesaic.boards.transport import Transport
from moesaic.compiler.image import ProgramImage
from moesaic.hw.spec.registers import COUNTERS, ErrorCode, ErrorUnit, register_map

__all__ = ["Driver", "RunResult"]

Pixels = np.ndarray[Any, np.dtype[Any]]

CLEAR_POLLS = 4  # the same for the few cycles of a clear, which look like a run
DRAIN_POLLS = 1_000  # reads of STATUS for which a start waits while an earlier run drains
RESET_POLLS = 10_000  # reads of STATUS in which a soft reset must have made the accelerator idle


@dataclass(frozen=True)
class RunResult:
    """What a run left.

    Parameters
    ----------
    task : str
        Empty if the run was made in steps (`start`, `finish`).
    result : bytes
        Contents of the result region.
    counters : mapping
        By the names of `registers.COUNTERS`, in lower case.
    seconds : mapping
        `write` (image into memory), `run` (start to interrupt), `read` (result out of memory), by the transport's
        clock.
    failures : tuple of str
        What earlier attempts ended with.
    """

    task: str
    result: bytes
    counters: Mapping[str, int]
    seconds: Mapping[str, float] = field(default_factory=dict)
    failures: tuple[str, ...] = ()


@dataclass
class _Flight:
    """A run that was started and not yet collected."""

    task: str
    image: Pixels | None
    slot: int
    begun: float
    write_s: float


class Driver:
    """Loads a program image, runs images, reads counters, reports errors by name.

    One image: :meth:`run`. Several: :meth:`submit` each, then :meth:`collect`; with two slots the next image is
    written, and the last result read, while the accelerator works.

    Parameters
    ----------
    transport : Transport
    program : ProgramImage
    slots : int
        Places for images and results; 1 runs one after the other.
    watchdog : int, cycles
        Without progress before the hardware ends a run, below 2**32; 0 is off.
    timeout : float, seconds
        Until a run must have ended, by the transport's clock.
    retries : int
        Further attempts of a run that failed, each after a soft reset and with program and image written again.
    apart : int, bytes
        From the memory channel of one weight port to that of the next (`boards.place`); 0 where all share one memory.

    Raises
    ------
    WrongAccelerator
        From :meth:`open`.
    AcceleratorError, RunIncomplete, RunTimeout, RunLost, AcceleratorBusy
        From what runs something. Afterwards the driver can start again, unless the message says that the bus owes
        responses.
    """

    def __init__(
        self,
        transport: Transport,
        program: ProgramImage,
        *,
        slots: int = 2,
        watchdog: int = 1_000_000,
        timeout: float = 10.0,
        retries: int = 0,
        apart: int = 0,
    ) -> None:
        self.transport, self.compiled, self.slots = transport, program, check_count("slots", slots, 1)
        self.table = register_map(program.config.ports)
        self.watchdog = check_value(self.table, "watchdog", watchdog)
        self.timeout, self.retries = check_seconds(timeout), check_count("retries", retries, 0)
        self.apart = check_count("apart", apart, 0)
        self._placement: Placement | None = None
        self._held: dict[str, int] = {}  # configuration values that the registers are known to hold
        self._flight: _Flight | None = None
        self._expected: dict[str, int] = {}  # counters that a run of the program leaves
        self._started: tuple[str, Slot] = ("", Slot((), 0))  # what runs, or ran last

    # Registers.

    async def _get(self, value: str) -> int:
        words = self.table.values[value]
        return sum([await self.transport.read(word.offset) << 32 * k for k, word in enumerate(words)])

    async def _set(self, value: str, number: int) -> None:
        for k, word in enumerate(self.table.values[value]):
            await self.transport.write(word.offset, number >> 32 * k & 0xFFFF_FFFF)

    async def _command(self, name: str) -> None:
        await self._set("ctrl", self.table["CTRL"][name].mask)

    async def _is(self, *flags: str) -> bool:
        return bool(await self._get("status") & sum(self.table["STATUS"][flag].mask for flag in flags))

    async def status(self) -> Status:
        """The state of the accelerator now."""
        return Status(self.table, {name: await self._get(name) for name in STATUS_VALUES})

    async def counters(self) -> dict[str, int]:
        """Counters of the last run, by name in lower case; steady once it has ended."""
        return {c.name.lower(): await self._get(c.name.lower()) for c in COUNTERS}

    # Program and memory.

    @property
    def placement(self) -> Placement:
        """Where the program lies; `RuntimeError` before :meth:`open`."""
        if self._placement is None:
            raise RuntimeError("driver must be opened first")
        return self._placement

    @property
    def program(self) -> ProgramImage:
        """The program, with the addresses at which it lies."""
        return self.placement.program

    async def open(self, *, load: bool = True) -> None:
        """Check who answers, reserve memory, and write the program there (unless it is there already)."""
        await self._check_identity()
        size = bytes_needed(self.compiled, self.slots, apart=self.apart)
        address = await self.transport.allocate(size, self.compiled.address)
        self._placement = place(self.compiled, address, slots=self.slots, apart=self.apart)
        if load:
            await self.load()
        if await self._is("busy"):  # another host's, or ours before a crash
            await self.soft_reset()

    async def load(self) -> None:
        """Write the program into the memory (again)."""
        memory = memoryview(self.program.memory)
        for piece in self.placement.pieces:
            await self.transport.write_memory(piece.address, bytes(memory[piece.offset : piece.offset + piece.bytes]))

    async def _check_identity(self) -> None:
        check_identity(
            self.compiled,
            identity=await self._get("id"),
            version=await self._get("version"),
            config_hash=await self._get("config_hash"),
        )

    def _slot(self, number: int) -> Slot:
        if not 0 <= number < self.slots:
            raise ValueError(f"slot must be from 0 to {self.slots - 1}, not {number!r}")
        return self.placement.slots[number]

    async def write_image(self, image: Pixels, *, slot: int = 0) -> None:
        """Write an image [3, height, width] uint8 into a slot."""
        parts = self.program.image_parts(image)
        for address, (_, part) in zip(self._slot(slot).images, parts, strict=True):
            await self.transport.write_memory(address, part)

    async def read_result(self, *, slot: int = 0) -> bytes:
        """The result region of a slot."""
        return await self.transport.read_memory(self._slot(slot).result, self.program.region("result").bytes)

    # One run, in steps.

    async def start(
        self, task: str, *, slot: int = 0, watchdog: int | None = None, overrides: Mapping[str, int] | None = None
    ) -> None:
        """Program the registers for a task and start; `overrides` replace register values.

        Raises
        ------
        AcceleratorBusy
            If a run or a drain is in progress. A locked register is never written: on a board that is a bus error,
            which ends the process.
        """
        places = self._slot(slot)
        values = {
            **self.program.registers(task),
            "window_bytes": self.placement.bytes,
            "result_base": places.result,
            **{f"image_base{port}": address for port, address in enumerate(places.images)},
            "watchdog": self.watchdog if watchdog is None else watchdog,
            "irq_enable": self.table["IRQ_ENABLE"].mask,
            **(overrides or {}),
        }
        for name, value in values.items():
            check_value(self.table, name, value)
        if not await self._drained():
            raise AcceleratorBusy(f"accelerator must be idle before a start: {await self.status()}")
        if await self._get("program_hash") != values["program_hash"]:  # reset since, or never written
            self._held.clear()
        for name, value in values.items():
            if self._held.get(name) != value:
                await self._set(name, value)
                self._held[name] = value
        await self._set("irq_status", self.table["IRQ_STATUS"].mask)
        self._expected = expected_counters(self.program, task)
        self._started = task, places
        await self._command("start")
        if await self._is("start_refused"):
            raise AcceleratorBusy(f"start was refused, the bus still owes responses: {await self.status()}")

    async def wait(self, *, timeout: float | None = None) -> dict[str, int]:
        """Wait for the end of a run, by interrupt; its counters, which are checked against the program's."""
        limit = self.timeout if timeout is None else check_seconds(timeout)
        end = self.transport.now() + limit
        table = self.table["STATUS"]
        while True:
            await self.transport.wait_interrupt(max(0.0, min(self.transport.patience, end - self.transport.now())))
            status = await self._get("status")
            if status & table["error"].mask:
                raise await self._error(draining=bool(status & table["draining"].mask))
            if status & table["done"].mask:
                await self._set("irq_status", self.table["IRQ_STATUS"].mask)
                counters = await self.counters()
                try:
                    check_done(counters, self._expected)
                except RunIncomplete:  # a count or a base may be wrong in the registers
                    self._held.clear()
                    raise
                return counters
            if not status & table["busy"].mask:
                raise await self._lost()
            if self.transport.now() >= end:
                text = str(await self.status())
                idle = await self.settle()
                raise RunTimeout(limit, text, idle=idle)

    async def finish(self, *, slot: int = 0, timeout: float | None = None) -> RunResult:
        """`wait`, and what the run left in a slot."""
        counters = await self.wait(timeout=timeout)
        return RunResult("", await self.read_result(slot=slot), counters)

    async def _error(self, *, draining: bool) -> AcceleratorError:
        self._held.clear()
        await self._set("irq_status", self.table["IRQ_STATUS"].mask)
        word, fields = await self._get("error_instruction"), self.table["ERROR_INSTRUCTION"]
        unit = ErrorUnit((word & fields["unit"].mask) >> fields["unit"].lsb)
        index, address = (word & fields["index"].mask) >> fields["index"].lsb, await self._get("error_addr")
        task, slot = self._started
        items = concerned(self.program, task, slot, unit, index, address) if task else ()
        return AcceleratorError(
            ErrorCode(await self._get("error_code")),
            unit,
            index,
            address,
            draining=draining,
            items=in_words(items, self.program, task),
        )

    async def _lost(self) -> RunLost:
        """Idle, with neither a result nor an error: somebody reset it. After a hardware reset the window is 0."""
        self._held.clear()
        status = await self.status()
        return RunLost("SOFT_RESET" if status.values["window_bytes"] else "HARDWARE_RESET", str(status))

    async def soft_reset(self) -> None:
        """Abort, drain, clear; returns when idle. `TimeoutError` if the bus does not give what it owes."""
        self._held.clear()
        self._flight = None
        await self._command("soft_reset")
        for _ in range(RESET_POLLS):
            if not await self._is("busy"):
                await self._set("irq_status", self.table["IRQ_STATUS"].mask)
                return
        raise TimeoutError(
            f"accelerator must be idle after a soft reset; the bus still owes responses: {await self.status()}"
        )

    async def _drained(self) -> bool:
        """Idle, if need be after a drain and the few cycles of a clear; False at once while a run is in progress."""
        clearing = CLEAR_POLLS
        for _ in range(DRAIN_POLLS):
            if not await self._is("busy"):
                return True
            clearing -= not await self._is("draining")
            if clearing <= 0:
                break
        return False

    async def settle(self) -> bool:
        """`soft_reset`; whether the accelerator is idle."""
        try:
            await self.soft_reset()
        except TimeoutError:
            return False
        return True

    # Whole runs.

    async def run(
        self,
        task: str,
        image: Pixels | None = None,
        *,
        slot: int = 0,
        timeout: float | None = None,
        retries: int | None = None,
        watchdog: int | None = None,
        overrides: Mapping[str, int] | None = None,
    ) -> RunResult:
        """Run a task on an image [3, height, width] uint8, or on what the slot holds.

        Parameters
        ----------
        task : str
        image : array or None
        slot : int
        timeout, retries, watchdog
            Instead of the driver's.
        overrides : mapping
            Register values that replace the program's.
        """
        if self._flight is not None:
            raise RuntimeError("run must wait for what was submitted: call collect first")
        limit = self.timeout if timeout is None else check_seconds(timeout)
        more = self.retries if retries is None else check_count("retries", retries, 0)
        failures: list[str] = []
        for attempt in range(more + 1):
            if attempt:
                await self._recover()
            try:
                begun = self.transport.now()
                if image is not None:
                    await self.write_image(image, slot=slot)
                written = self.transport.now()
                await self.start(task, slot=slot, watchdog=watchdog, overrides=overrides)
                counters = await self.wait(timeout=limit)
                return await self._result(task, slot, counters, written - begun, written, tuple(failures))
            except (AcceleratorError, RunIncomplete, RunTimeout, RunLost) as error:
                failures.append(str(error))
                last: Exception = error
        raise last

    async def _result(
        self,
        task: str,
        slot: int,
        counters: Mapping[str, int],
        write_s: float,
        begun: float,
        failures: tuple[str, ...] = (),
    ) -> RunResult:
        ended = self.transport.now()
        data = await self.read_result(slot=slot)
        seconds = {"write": write_s, "run": ended - begun, "read": self.transport.now() - ended}
        return RunResult(task, data, counters, seconds, failures)

    async def _recover(self) -> None:
        """Idle again, and nothing left in memory that could have been the cause."""
        await self.soft_reset()
        await self.load()

    async def submit(self, task: str, image: Pixels) -> RunResult | None:
        """Queue an image [3, height, width] uint8; the result of the one before it, if there was one.

        The image is written into the free slot while the accelerator works on the one before; that one's result is
        read while the accelerator works on this one. With one slot everything waits for everything.
        """
        before = self._flight
        if before is None or self.slots == 1:
            done = await self.collect()
            self._flight = await self._launch(task, image, 0)
            return done
        slot = (before.slot + 1) % self.slots
        begun = self.transport.now()
        await self.write_image(image, slot=slot)
        write_s = self.transport.now() - begun
        counters = await self._ended(before)
        if isinstance(counters, RunResult):  # only after further attempts, which leave the accelerator idle
            self._flight = await self._launch(task, image, slot)
            return counters
        self._flight = None  # if the start fails, the result before it is lost with it
        ended = self.transport.now()
        await self.start(task, slot=slot)
        self._flight = _Flight(task, image, slot, self.transport.now(), write_s)
        data = await self.read_result(slot=before.slot)
        seconds = {
            "write": before.write_s,
            "run": ended - before.begun,
            "read": self.transport.now() - self._flight.begun,
        }
        return RunResult(before.task, data, counters, seconds)

    async def _launch(self, task: str, image: Pixels, slot: int) -> _Flight:
        begun = self.transport.now()
        await self.write_image(image, slot=slot)
        written = self.transport.now()
        await self.start(task, slot=slot)
        return _Flight(task, image, slot, written, written - begun)

    async def _ended(self, flight: _Flight) -> dict[str, int] | RunResult:
        """Counters of a run that was started; or the result of a further attempt."""
        try:
            return await self.wait()
        except (AcceleratorError, RunIncomplete, RunTimeout, RunLost) as error:
            self._flight = None
            if not self.retries:
                raise
            await self._recover()
            again = await self.run(flight.task, flight.image, slot=flight.slot, retries=self.retries - 1)
            return RunResult(again.task, again.result, again.counters, again.seconds, (str(error), *again.failures))

    async def collect(self) -> RunResult | None:
        """The result of the image that was submitted last; None if there is none."""
        flight = self._flight
        if flight is None:
            return None
        counters = await self._ended(flight)
        self._flight = None
        if isinstance(counters, RunResult):
            return counters
        return await self._result(flight.task, flight.slot, counters, flight.write_s, flight.begun)

    async def close(self) -> None:
        """End what is running, turn the interrupt off and give back the memory."""
        try:
            if self._placement is not None:
                await self._stop()
        finally:
            self._held.clear()
            self._placement = None
            await self.transport.close()

    async def _stop(self) -> None:
        try:
            if await self._is("busy"):
                await self.soft_reset()
            await self._set("irq_enable", 0)
        except BusError:  # the bitstream was replaced: there is nothing to stop
            return
