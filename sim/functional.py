"""The functional simulator: executes a program image on bytes; the living definition of the instruction set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from moesaic.compiler.image import ProgramImage
from moesaic.golden.layers.norm import NORM_FIELDS
from moesaic.hw.spec import isa
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import INSTRUCTION_BYTES, Base, Memory, Opcode, Stationary
from moesaic.hw.spec.legal import refusal
from moesaic.sim.machine import Array, Machine, ProgramError, WeightQueue
from moesaic.sim.matmul import Matmul

__all__ = ["FunctionalRun", "FunctionalSimulator", "Mark", "ProgramError", "Routing"]


@dataclass(frozen=True)
class Mark:
    """Residual memory [words, lanes] int16 when a marked instruction retired."""

    instruction: int
    residual: Array


@dataclass(frozen=True)
class Routing:
    """Tokens in each expert's queue after a router decided."""

    instruction: int
    lengths: tuple[int, ...]


@dataclass
class FunctionalRun:
    """What a run left behind.

    Parameters
    ----------
    task : str
        Name of the program, if :meth:`FunctionalSimulator.run` ran it.
    result : bytes
        Contents of the result region, as far as it was written.
    marks : list of Mark
    routings : list of Routing
    counters : dict
        By the names of the hardware's counters (`registers.COUNTERS`), those that do not depend on time.
    """

    task: str = ""
    result: bytes = b""
    marks: list[Mark] = field(default_factory=list)
    routings: list[Routing] = field(default_factory=list)
    counters: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            (
                "FETCH_BYTES",
                "WEIGHT_BYTES",
                "SPECULATED_BYTES_DROPPED",
                "ACTIVATION_WORDS_READ",
                "MACS",
                "INSTRUCTIONS_RETIRED",
                "STORE_BYTES",
            ),
            0,
        )
    )


class FunctionalSimulator:
    """An accelerator without time: DDR window and host interface as the hardware's, results as the hardware's.

    The weight stream is filled as early as the waits of its FETCHes allow, compute instructions run one after the
    other. Missing waits do not change results here; they are found by recording who wrote each on-chip word, and
    refused.

    Parameters
    ----------
    config : AcceleratorConfig
    seed : int
        Of the noise that on-chip memories hold at first.
    """

    def __init__(self, config: AcceleratorConfig, *, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.address, self.memory = 0, np.zeros(0, np.uint8)
        self.image: ProgramImage | None = None

    def load(self, image: ProgramImage) -> None:
        """Fill the DDR window with a program image.

        Raises
        ------
        ValueError
            If the image was compiled for another configuration.
        """
        if image.config.hash != self.config.hash:
            raise ValueError(
                f"program image must be for configuration {self.config.hash[:12]} ('{self.config.name}'), "
                f"not {image.config.hash[:12]} ('{image.config.name}')"
            )
        self.image, self.address = image, image.address
        self.memory = np.frombuffer(image.memory, np.uint8).copy()

    def write(self, address: int, data: bytes) -> None:
        """Host write into the window."""
        low = self._offset(address, len(data))
        self.memory[low : low + len(data)] = np.frombuffer(data, np.uint8)

    def read(self, address: int, size: int) -> bytes:
        """Host read from the window."""
        low = self._offset(address, size)
        return self.memory[low : low + size].tobytes()

    def _offset(self, address: int, size: int) -> int:
        low = address - self.address
        if low < 0 or low + size > len(self.memory):
            raise ValueError(
                f"bytes {address:#x} to {address + size - 1:#x} must lie in the window of {len(self.memory):#x} bytes "
                f"at {self.address:#x}"
            )
        return low

    def run(self, task: str, image: Array | None = None) -> FunctionalRun:
        """Run a program of the loaded image by its name, on input images [(images,) 3, height, width] uint8 if given.

        Raises
        ------
        ProgramError
            If the program is malformed.
        """
        if self.image is None:
            raise ValueError("a program image must be loaded before run")
        if image is not None:
            for address, data in self.image.image_parts(image):
                self.write(address, data)
        run = self.execute(self.image.registers(task))
        run.task = task
        region = self.image.region("result")
        run.result = self.read(region.address, region.bytes)
        return run

    def tensor(self, run: FunctionalRun, position: int) -> Array:
        """Marked tensor number `position` of a program that :meth:`run` ran, [items * tokens, dim] int16."""
        if self.image is None:
            raise ValueError("a program image must be loaded before tensor")
        entry = self.image.manifest["tensors"][position]
        words = run.marks[position].residual[entry["address"] :]
        return self.image.unpack_items(words.astype("<i2").tobytes(), run.task, position)

    def execute(self, registers: Mapping[str, int]) -> FunctionalRun:
        """Run the program that configuration registers point to, named as in `ProgramImage.registers`."""
        return _Execution(self, registers).run()


class _Execution:
    """One run: three streams, the weight queue and the on-chip state."""

    def __init__(self, simulator: FunctionalSimulator, registers: Mapping[str, int]) -> None:
        self.simulator, self.config, self.registers = simulator, simulator.config, registers
        self.machine = Machine(self.config, simulator.seed)
        self.queue = WeightQueue(self.config.word_bytes)
        self.result = FunctionalRun()
        self.streams = {name: self._instructions(name) for name in ("load", "compute", "store")}
        self.position = {"load": 0, "store": 0}
        self.retired = 0
        self.loaded = self.fed = -1

    def _instructions(self, stream: str) -> list[tuple[Opcode, dict[str, int]]]:
        base, count = self.registers[f"{stream}_base"], self.registers[f"{stream}_count"]
        result = []
        for index in range(count):
            try:
                opcode, fields = isa.decode(self.simulator.read(base + index * INSTRUCTION_BYTES, INSTRUCTION_BYTES))
            except ValueError as error:
                raise ProgramError(stream, index, str(error)) from error
            if isa.FORMATS[opcode].stream != stream:
                raise ProgramError(stream, index, f"opcode must be of the {stream} stream, not {opcode.name}")
            reason = refusal(opcode, fields, self.config)
            if reason is not None:
                raise ProgramError(stream, index, reason)
            result.append((opcode, fields))
        self.result.counters["FETCH_BYTES"] += count * INSTRUCTION_BYTES
        return result

    def run(self) -> FunctionalRun:
        self._advance()
        for index, (opcode, fields) in enumerate(self.streams["compute"]):
            for wait in ("feed_wait", "load_wait"):
                if fields[wait] > index:
                    raise ProgramError("compute", index, f"{wait} must be at most {index}, not {fields[wait]}")
            if fields["load_wait"]:
                self.loaded = max(self.loaded, index - fields["load_wait"])
            if opcode is Opcode.NORM:
                self._norm(fields)
            elif opcode is Opcode.COPY:
                self._copy(index, fields)
            else:
                self._matmul(index, fields)
            self.retired = index + 1
            if fields["mark"]:
                self.result.marks.append(Mark(index, self.machine.residual.words.copy()))
            self._advance()
        for stream, position in self.position.items():
            if position < len(self.streams[stream]):
                needed = self.streams[stream][position][1]["wait"]
                reason = f"deadlock: waits for {needed} retired compute instructions of {self.retired}"
                raise ProgramError(stream, position, reason)
        self._check_stores()
        if self.queue.words:
            raise ProgramError(
                "load", len(self.streams["load"]) - 1, f"{self.queue.words} words are left over in the weight stream"
            )
        self.result.counters["INSTRUCTIONS_RETIRED"] = sum(len(s) for s in self.streams.values())
        return self.result

    def _check_stores(self) -> None:
        """A STORE may run at any time after its wait, so nothing may write its words later."""
        for index, (_, f) in enumerate(self.streams["store"]):
            last = int(self.machine.residual.writer[f["src_addr"] : f["src_addr"] + f["words"]].max(initial=-1))
            if last >= f["wait"]:
                reason = (
                    f"hazard: reads residual words that instruction {last} writes, but waits only for {f['wait'] - 1}"
                )
                raise ProgramError("store", index, reason)

    def _advance(self) -> None:
        """Run every load and store instruction whose wait is over, in order."""
        for stream, action in (("load", self._fetch), ("store", self._store)):
            instructions = self.streams[stream]
            while (
                self.position[stream] < len(instructions)
                and instructions[self.position[stream]][1]["wait"] <= self.retired
            ):
                action(self.position[stream], instructions[self.position[stream]][1])
                self.position[stream] += 1

    def _fetch(self, index: int, f: Mapping[str, int]) -> None:
        config, port_bytes = self.config, self.config.port_bits // 8
        if f["expert_valid"] and not f["speculative"] and not len(self.machine.queue_tokens[f["expert"]]):
            return
        register = {Base.WEIGHT: "weight_base", Base.IMAGE: "image_base", Base.TASK: "task_base"}[Base(f["base"])]
        size = f["beats"] * port_bytes
        stripes = np.empty((f["beats"], config.ports, port_bytes), np.uint8)
        for port in range(config.ports):
            address = self.registers[f"{register}{port}"] + f["offset"] * port_bytes
            try:
                low = self.simulator._offset(address, size)
            except ValueError as error:
                raise ProgramError("load", index, str(error)) from error
            stripes[:, port] = self.simulator.memory[low : low + size].reshape(-1, port_bytes)
        self.queue.put(stripes.reshape(-1))
        self.result.counters["WEIGHT_BYTES"] += stripes.size

    def _store(self, index: int, f: Mapping[str, int]) -> None:
        def fail(reason: str) -> NoReturn:
            raise ProgramError("store", index, reason)

        words = f["src_addr"] + np.arange(f["words"])
        data = self.machine.residual.read(words, -1, f["wait"] - 1, fail).astype("<i2").tobytes()
        try:
            low = self.simulator._offset(self.registers["result_base"] + f["offset"], len(data))
        except ValueError as error:
            fail(str(error))
        size = self.registers["result_bytes"]
        if f["offset"] + len(data) > size:
            fail(
                f"bytes {f['offset']:#x} to {f['offset'] + len(data) - 1:#x} must lie in the result of {size:#x} bytes"
            )
        self.simulator.memory[low : low + len(data)] = np.frombuffer(data, np.uint8)
        self.result.counters["STORE_BYTES"] += len(data)

    def _take(self, index: int, words: int) -> Array:
        if self.queue.words < words:
            position = self.position["load"]
            reason = f"the weight stream holds {self.queue.words} words of the {words} needed"
            if position < len(self.streams["load"]):
                wait = self.streams["load"][position][1]["wait"]
                reason = (
                    f"deadlock: {reason}, and load instruction {position} waits for {wait} retired instructions "
                    f"of {self.retired}"
                )
            raise ProgramError("compute", index, reason)
        return self.queue.take(words)

    def _norm(self, f: Mapping[str, int]) -> None:
        self.machine.norm = {name: f[name] for name in NORM_FIELDS}

    def _copy(self, index: int, f: Mapping[str, int]) -> None:
        def fail(reason: str) -> NoReturn:
            raise ProgramError("compute", index, reason)

        memory, dtype = (
            (self.machine.activation, "u1") if f["memory"] == Memory.ACTIVATION else (self.machine.residual, "<i2")
        )
        values = self._take(index, f["words"]).view(dtype).reshape(-1, self.config.lanes)
        memory.write_early(f["addr"] + np.arange(len(values)), values, index, self.loaded, fail, after_reads=False)

    def _matmul(self, index: int, f: Mapping[str, int]) -> None:
        if f["feed_wait"]:
            self.fed = max(self.fed, index - f["feed_wait"])
        matmul = Matmul(self.machine, index, f, loaded=self.loaded, fed=self.fed)
        weights = matmul.stationary is Stationary.WEIGHTS
        counters = self.result.counters
        if not matmul.count:
            if f["speculative"]:
                counters["SPECULATED_BYTES_DROPPED"] += self._take(index, matmul.weight_words).size
            return
        counters["MACS"] += matmul.run(self._take(index, matmul.weight_words) if weights else np.zeros(0, np.uint8))
        counters["ACTIVATION_WORDS_READ"] += matmul.count * matmul.blocks * f["in_blocks"]
        if f["function"] == isa.Function.ROUTE:
            lengths = tuple(len(queue) for queue in self.machine.queue_tokens)
            self.result.routings.append(Routing(index, lengths))
