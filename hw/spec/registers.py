"""The register map of the accelerator: one table for the RTL, the driver and the documentation."""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

__all__ = [
    "COUNTERS",
    "ID_VALUE",
    "IRQS",
    "MAP_BYTES",
    "MAX_PORTS",
    "VERSION_VALUE",
    "Access",
    "Counter",
    "ErrorCode",
    "ErrorUnit",
    "Field",
    "Register",
    "RegisterMap",
    "register_map",
]

ID_VALUE = 0x4D4F4531  # "MOE1"
VERSION_VALUE = 0x0002_0000  # major in the high half, minor in the low half
MAP_BYTES = 4096  # bytes of address space that the map owns
MAX_PORTS = 16  # read ports that fit between the shared registers and the counters
IRQS = ("done", "error")  # bits of IRQ_ENABLE and IRQ_STATUS, lowest first


class Access(enum.Enum):
    """What the host may do with a register.

    RO reads; RW reads and writes; W1S writes 1 to trigger, reads 0; W1C reads, writes 1 to clear.
    """

    RO = "RO"
    RW = "RW"
    W1S = "W1S"
    W1C = "W1C"


class ErrorCode(enum.IntEnum):
    """What stopped the accelerator, as read from ERROR_CODE; ``doc`` says when it is raised."""

    doc: str

    def __new__(
        cls, value: int, doc: str = ""
    ) -> Any:  # Self needs Python 3.11; the default: `ErrorCode(1)` has no text
        code = int.__new__(cls, value)
        code._value_ = value
        code.doc = doc
        return code

    NONE = 0, "no error since the last accepted start"
    BAD_OPCODE = 1, "an instruction's opcode is not one of its stream"
    BAD_FIELD = 2, "an instruction's field is outside what its opcode or the configuration allows"
    ADDRESS_RANGE = 3, "a DDR access would leave the window or is misaligned; it was not issued"
    READ_SLVERR = 4, "a data read was answered with SLVERR or EXOKAY, or RLAST was on the wrong beat"
    READ_DECERR = 5, "a data read was answered with DECERR"
    WRITE_SLVERR = 6, "a write was answered with SLVERR or EXOKAY"
    WRITE_DECERR = 7, "a write was answered with DECERR"
    FETCH_SLVERR = 8, "an instruction fetch was answered with SLVERR or EXOKAY, or RLAST was on the wrong beat"
    FETCH_DECERR = 9, "an instruction fetch was answered with DECERR"
    WATCHDOG = 10, "no unit made progress for WATCHDOG cycles"
    HOST_ABORT = 11, "the host wrote CTRL.abort during a run"
    START_WHILE_BUSY = 12, "start was written while busy; the run goes on (STATUS.start_refused, never in ERROR_CODE)"
    MEMORY_RANGE = 13, "an on-chip address lies outside its memory"
    HAZARD = 14, "two units would use one buffer at once: a dependency is missing in the program"
    RESULT_RANGE = 15, "a STORE would leave the result region; it was not issued"


class ErrorUnit(enum.IntEnum):
    """Which unit reported the error, in ERROR_INSTRUCTION.unit; ``doc`` says what ``index`` counts."""

    doc: str

    def __new__(
        cls, value: int, doc: str = ""
    ) -> Any:  # Self needs Python 3.11; the default: `ErrorUnit(1)` has no text
        unit = int.__new__(cls, value)
        unit._value_ = value
        unit.doc = doc
        return unit

    CONTROL = 0, "supervisor (watchdog, host abort); index is 0"
    FETCH = 1, "instruction fetch; index is the stream: 0 load, 1 compute, 2 store"
    LOAD = 2, "load queue; index is the instruction's position in its stream"
    COMPUTE = 3, "compute queue; index is the instruction's position in its stream"
    STORE = 4, "store queue; index is the instruction's position in its stream"


@dataclass(frozen=True)
class Field:
    """Bits ``lsb`` to ``lsb + width - 1`` of a register."""

    name: str
    lsb: int
    width: int
    doc: str

    @property
    def mask(self) -> int:
        """The field's bits set, in place."""
        return ((1 << self.width) - 1) << self.lsb


@dataclass(frozen=True)
class Register:
    """One 32-bit word of the map.

    Parameters
    ----------
    name : str
        Upper case; the halves of a 64-bit value end in ``_LO`` and ``_HI``.
    offset : int
        Bytes from the start of the map, a multiple of 4.
    access : Access
    width : int
        Bits in use, 1 to 32; the others read 0 and ignore writes.
    reset : int
        Value after reset; of a constant register, its value.
    fields : tuple of Field
        Named parts, lowest first; empty if the register is one number.
    doc : str
    locked : bool
        Writes are refused (SLVERR) while the accelerator is busy.
    constant : bool
        Reads ``reset`` always, no hardware input.
    """

    name: str
    offset: int
    access: Access
    width: int
    reset: int
    fields: tuple[Field, ...]
    doc: str
    locked: bool = False
    constant: bool = False

    def __post_init__(self) -> None:
        if self.offset % 4 or not 0 <= self.offset < MAP_BYTES:
            raise ValueError(f"offset of {self.name} must be a multiple of 4 below {MAP_BYTES}, not {self.offset!r}")
        if not 1 <= self.width <= 32:
            raise ValueError(f"width of {self.name} must be 1 to 32, not {self.width!r}")
        if not 0 <= self.reset < 1 << self.width:
            raise ValueError(f"reset of {self.name} must fit {self.width} bits, not {self.reset!r}")
        used = 0
        for field in self.fields:
            if field.mask & used or field.mask >> self.width:
                raise ValueError(
                    f"field {field.name} of {self.name} must be free bits below {self.width}, "
                    f"not {field.lsb + field.width - 1}:{field.lsb}"
                )
            used |= field.mask

    @property
    def value_name(self) -> str:
        """Lower-case name of the value this register is part of: ``load_base`` for LOAD_BASE_HI."""
        return self.name.removesuffix("_LO").removesuffix("_HI").lower()

    @property
    def mask(self) -> int:
        """Bits that hold something."""
        return sum(field.mask for field in self.fields) if self.fields else (1 << self.width) - 1

    def __getitem__(self, field: str) -> Field:
        for candidate in self.fields:
            if candidate.name == field:
                return candidate
        raise KeyError(f"{self.name} has no field {field!r}")


@dataclass(frozen=True)
class Counter:
    """A performance counter, cleared by start, counting while a run lasts, kept until the next start."""

    name: str
    bits: int  # 32 or 64
    unit: str
    doc: str


COUNTERS = (
    Counter("CYCLES", 64, "cycles", "from start to the end of the drain"),
    Counter("ARRAY_BUSY", 64, "cycles", "the array takes a streamed vector"),
    Counter("ARRAY_STARVED", 64, "cycles", "the array waits for weights that DDR has not delivered"),
    Counter("ARRAY_LOADING", 64, "cycles", "the array waits while its next stationary block is being filled"),
    Counter("ARRAY_BLOCKED", 64, "cycles", "the array waits for an earlier instruction to retire"),
    Counter("ARRAY_IDLE", 64, "cycles", "the array waits for anything else: instructions, vectors on their way"),
    Counter("LOADER_BUSY", 64, "cycles", "the weight loader receives data"),
    Counter("LOADER_STARVED", 64, "cycles", "the weight loader waits for DDR"),
    Counter("LOADER_BLOCKED", 64, "cycles", "the weight loader waits for space or for the router"),
    Counter("FETCH_BYTES", 64, "bytes", "instructions read from DDR"),
    Counter("WEIGHT_BYTES", 64, "bytes", "weights read from DDR, speculated ones included"),
    Counter("SPECULATED_BYTES_DROPPED", 64, "bytes", "weights read for experts that no token chose"),
    Counter("LOAD_BLOCKED_ROUTER", 64, "cycles", "the load queue waits for a routing decision"),
    Counter("LOAD_BLOCKED_SPACE", 64, "cycles", "the load queue waits for space in the prefetch buffer"),
    Counter("ACTIVATION_WORDS_READ", 64, "words", "streamed: reads of activation and residual memory"),
    Counter("ATTENTION_CYCLES", 64, "cycles", "spent on scores and on probabilities times values"),
    Counter("ATTENTION_WORDS_READ", 64, "words", "reads of the activation memory during attention"),
    Counter("STATIONARY_WORDS_READ", 64, "words", "reads that fill the array's stationary vectors"),
    Counter("INSTRUCTIONS_RETIRED", 32, "instructions", "finished, all three streams together"),
    Counter("MARKS", 32, "instructions", "finished instructions that carry `mark`: blocks of the network"),
    Counter("STORE_BYTES", 64, "bytes", "results written to DDR"),
)


@dataclass(frozen=True)
class RegisterMap:
    """All registers of an accelerator with ``ports`` weight ports, in order of offset.

    Indexing by name gives a register; ``in`` and iteration go over registers. ``by_offset`` finds one by address and
    ``values`` groups the words of each value, low word first.

    Raises
    ------
    ValueError
        If two registers share a name or an offset.
    """

    ports: int
    registers: tuple[Register, ...]

    def __post_init__(self) -> None:
        for what in ("name", "offset"):
            seen = [getattr(register, what) for register in self.registers]
            for item in seen:
                if seen.count(item) > 1:
                    raise ValueError(f"register {what} must be unique, not {item!r} twice")

    @cached_property
    def _by_name(self) -> Mapping[str, Register]:
        return {register.name: register for register in self.registers}

    @cached_property
    def by_offset(self) -> Mapping[int, Register]:
        """Offset in bytes to register."""
        return {register.offset: register for register in self.registers}

    @cached_property
    def values(self) -> Mapping[str, tuple[Register, ...]]:
        """Value name (lower case, no ``_LO``/``_HI``) to its one or two registers, low word first."""
        groups: dict[str, tuple[Register, ...]] = {}
        for register in sorted(self.registers, key=lambda r: r.offset):
            groups[register.value_name] = (*groups.get(register.value_name, ()), register)
        return groups

    def __getitem__(self, name: str) -> Register:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Register]:
        return iter(self.registers)


def register_map(ports: int, *, config_hash: int = 0) -> RegisterMap:
    """The map for ``ports`` weight read ports; ``config_hash`` is what CONFIG_HASH reads (32 bits).

    Raises
    ------
    ValueError
        If ``ports`` is not 1 to 16 or ``config_hash`` does not fit 32 bits.
    """
    if not 1 <= ports <= MAX_PORTS:
        raise ValueError(f"ports must be 1 to {MAX_PORTS}, not {ports!r}")
    if not 0 <= config_hash < 1 << 32:
        raise ValueError(f"config_hash must fit 32 bits, not {config_hash!r}")
    registers: list[Register] = []

    def constant(name: str, offset: int, value: int, doc: str) -> None:
        registers.append(Register(name, offset, Access.RO, 32, value, (), doc, constant=True))

    def config(name: str, offset: int, doc: str, *, bits: int = 32, reset: int = 0) -> None:
        words = (("", reset),) if bits == 32 else (("_LO", reset & 0xFFFF_FFFF), ("_HI", reset >> 32))
        for word, (suffix, value) in enumerate(words):
            registers.append(Register(name + suffix, offset + 4 * word, Access.RW, 32, value, (), doc, locked=True))

    def status(name: str, offset: int, doc: str, *, bits: int = 32) -> None:
        for word, suffix in enumerate(("",) if bits == 32 else ("_LO", "_HI")):
            registers.append(Register(name + suffix, offset + 4 * word, Access.RO, 32, 0, (), doc))

    def flags(name: str, offset: int, access: Access, doc: str, **bits: str) -> None:
        fields = tuple(Field(bit, lsb, 1, text) for lsb, (bit, text) in enumerate(bits.items()))
        registers.append(Register(name, offset, access, len(fields), 0, fields, doc))

    constant("ID", 0x000, ID_VALUE, 'identification, "MOE1"')
    constant("VERSION", 0x004, VERSION_VALUE, "register map version: major 31:16, minor 15:0")
    constant("CONFIG_HASH", 0x008, config_hash, "low 32 bits of the SHA-256 of the accelerator's configuration")
    flags(
        "CTRL",
        0x010,
        Access.W1S,
        "commands; soft_reset wins over abort, abort over start",
        start="clear the core and run",
        soft_reset="abort if running, drain, clear, go idle; clears every status bit",
        abort="end the run with HOST_ABORT; ignored when no run is in progress",
    )
    flags(
        "STATUS",
        0x014,
        Access.RO,
        "state of the supervisor",
        busy="a run, a drain or a clear is in progress; configuration registers are locked",
        done="the last run ended without an error",
        error="an error is latched in the error registers; with draining, transactions are still owed by the bus",
        draining="no new work is issued; waiting for the bus",
        start_refused="start was written while busy (START_WHILE_BUSY); cleared by the next accepted start",
    )
    irqs = {"done": "a run ended without an error", "error": "an error was latched (the drain may still be going on)"}
    flags("IRQ_ENABLE", 0x018, Access.RW, "which events raise the interrupt", **{name: irqs[name] for name in IRQS})
    flags("IRQ_STATUS", 0x01C, Access.W1C, "events since they were last cleared", **{name: irqs[name] for name in IRQS})
    status("ERROR_CODE", 0x020, "first error since the last start, see the error codes")
    status("ERROR_ADDR", 0x024, "byte address that belongs to the error, 0 if it has none", bits=64)
    registers.append(
        Register(
            "ERROR_INSTRUCTION",
            0x02C,
            Access.RO,
            32,
            0,
            (
                Field("index", 0, 24, "position of the instruction in its stream, modulo 2**24"),
                Field("unit", 28, 4, "unit that reported, see the error units"),
            ),
            "what was being executed",
        )
    )
    config("WATCHDOG", 0x030, "cycles without progress before the WATCHDOG error; 0 = off", reset=1_000_000)
    doc = "free for the host: which program is loaded"
    registers.append(Register("PROGRAM_HASH", 0x034, Access.RW, 32, 0, (), doc))
    for number, stream in enumerate(("LOAD", "COMPUTE", "STORE")):
        what = f"{stream.lower()} instruction stream"
        config(f"{stream}_BASE", 0x040 + 16 * number, f"{what}: byte address of the first", bits=64)
        config(f"{stream}_COUNT", 0x048 + 16 * number, f"{what}: number of 32-byte instructions")
    config("RESULT_BASE", 0x070, "byte address of the result", bits=64)
    config("WINDOW_BASE", 0x078, "first byte of the DDR window that every access must lie in", bits=64)
    config("WINDOW_BYTES", 0x080, "size of the DDR window in bytes; 0 refuses every access", bits=64)
    config(
        "RESULT_BYTES", 0x088, "size of the result in bytes, that no STORE may leave; 0 refuses every STORE", bits=64
    )
    for port in range(ports):
        base = 0x100 + 0x20 * port
        config(f"WEIGHT_BASE{port}", base + 0x00, f"port {port}: byte address of its part of the weights", bits=64)
        config(f"IMAGE_BASE{port}", base + 0x08, f"port {port}: byte address of its part of the input image", bits=64)
        config(f"TASK_BASE{port}", base + 0x10, f"port {port}: byte address of its part of the task's data", bits=64)
    for number, counter in enumerate(COUNTERS):
        status(counter.name, 0x400 + 8 * number, f"{counter.unit}: {counter.doc}", bits=counter.bits)
    return RegisterMap(ports, tuple(sorted(registers, key=lambda r: r.offset)))
