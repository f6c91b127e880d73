"""A window of a run as waves (FST), and views of it for Surfer and GTKWave."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from moesaic.compiler.image import ProgramImage
from moesaic.errors import InputError
from moesaic.hw.control.supervisor import State
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import FORMATS, INSTRUCTION_BYTES, Opcode, Stream, disassemble
from moesaic.sim.tools import ToolMissing, find_compiler

__all__ = [
    "VIEW_FILES",
    "WAVES",
    "Mirror",
    "Shown",
    "Window",
    "check_headers",
    "counted",
    "enumerations",
    "instruction_names",
    "keep",
    "mirrors",
    "shown",
    "token_names",
    "write_views",
]

WAVES = "waves.fst"
VIEW_FILES = (
    "waves.gtkw",
    "waves.sucl",
    *(f"waves-{kind}.txt" for kind in ("instructions", "tokens")),
    *(f".surfer/mappings/moesaic_{kind}.txt" for kind in ("instructions", "tokens")),
)
_INDEX_BITS = 24  # of the feeder's instruction index
_TOKEN_BITS = 12
_STATE_BITS = 3
_ZOOM = 16  # of GTKWave: 2 ** 16 / 200 ps are a pixel, a cycle six
_LONGEST = 10  # digits of a cycle


@dataclass(frozen=True)
class Window:
    """Cycles of the first program's run that are traced, by its counter `cycles`: `first` and those before `end`."""

    first: int
    end: int

    @classmethod
    def parse(cls, text: str) -> "Window":
        """From ``FROM:TO``.

        Raises
        ------
        InputError
        """
        found = re.fullmatch(rf"(\d{{1,{_LONGEST}}}):(\d{{1,{_LONGEST}}})", text, flags=re.ASCII)
        if found is None or int(found[1]) >= int(found[2]):
            raise InputError(
                f"waves must be FROM:TO, cycles of a run, the first below the second, such as 0:2000, not {text!r}"
            )
        return cls(int(found[1]), int(found[2]))

    @property
    def plusargs(self) -> tuple[str, str]:
        """For the test bench."""
        return f"+waves_from={self.first}", f"+waves_to={self.end}"

    def bytes_of(self, config: AcceleratorConfig) -> int:
        """Room for its file: two KiB a cycle, and eight bytes for each multiplier, more than was seen."""
        return (2048 + 8 * config.macs_per_cycle) * (self.end - self.first)


def check_headers() -> None:
    """What Verilator's writer of FST is compiled with.

    Raises
    ------
    ToolMissing
        If the headers of its libraries are not on this machine.
    """
    with tempfile.TemporaryDirectory() as folder:
        command: list[str | Path] = [
            find_compiler().executable,
            "-x",
            "c++",
            "-",
            "-o",
            Path(folder) / "probe",
            "-llz4",
            "-lz",
        ]
        source = "#include <lz4.h>\n#include <zlib.h>\nint main() { return LZ4_versionNumber() + !zlibVersion(); }\n"
        done = subprocess.run(
            command, input=source, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    if done.returncode:
        raise ToolMissing(
            "waves need the libraries lz4 and zlib with their headers; type: "
            "sudo apt-get install -y liblz4-dev zlib1g-dev"
        )


@dataclass(frozen=True)
class Mirror:
    """A signal of the test bench, `waves_NAME`, that shows one of the accelerator.

    Parameters
    ----------
    name : str
    source : str
        What it shows, in Verilog.
    bits : int
    words : str
        Enumeration by which its values are called, of `enumerations`; empty for a number.
    """

    name: str
    source: str
    bits: int = 1
    words: str = ""

    @property
    def path(self) -> str:
        """From the test bench on."""
        return f"testbench.waves_{self.name}"

    @property
    def type(self) -> str:
        """As Verilog declares it."""
        if self.words:
            return f"{self.words}_t"
        return "logic" if self.bits == 1 else f"logic [{self.bits - 1}:0]"


def enumerations() -> dict[str, tuple[int, dict[str, int]]]:
    """Bits, and values by name, of what the waves show as words."""

    def of(values: type[IntEnum]) -> dict[str, int]:
        return {entry.name: int(entry) for entry in values}

    return {
        "state": (_STATE_BITS, {entry.name: entry.value for entry in State}),
        "opcode": (_field("opcode")[1], {"NONE": 0, **of(Opcode)}),
        "stream": (_field("stream")[1], of(Stream)),
    }


def counted() -> dict[str, str]:
    """What the performance counters count, by their names: a bit each, in Verilog.

    The array's bits and the loader's leave the core together, a cycle late. A cycle of which none of the array's holds
    is an idle one, as long as the accelerator runs.
    """
    array = ("busy", "starved", "loading", "blocked")
    busy = " | ".join(f"dut.activity_{name}" for name in array)
    return {
        **{f"array_{name}": f"dut.activity_{name}" for name in array},
        "array_idle": f"dut.ran && !({busy})",
        **{f"loader_{name}": f"dut.activity_loader_{name}" for name in ("busy", "starved", "blocked")},
        **{f"load_blocked_{name}": f"dut.load.waiting_{name}" for name in ("router", "space")},
    }


def mirrors() -> list[Mirror]:
    """All signals of the test bench that only waves have."""

    def field(name: str, source: str, of: str) -> Mirror:
        low, bits = _field(of)
        return Mirror(name, f"dut.core.{source}.body[{low + bits - 1}:{low}]", bits, of)

    # The machine has a register for each state.
    states = " | ".join(
        f"(dut.supervisor.in_{state.name.lower()} ? {_STATE_BITS}'d{state.value} : {_STATE_BITS}'d0)" for state in State
    )
    return [
        Mirror("state", states, _STATE_BITS, "state"),
        field("feeder_opcode", "feeder.walk", "opcode"),
        field("feeder_stream", "feeder.walk", "stream"),
        Mirror("feeder_token", "dut.core.feeder.token", _TOKEN_BITS),
        field("loader_opcode", "loader", "opcode"),
        *(Mirror(name, source) for name, source in counted().items()),
    ]


def _field(name: str) -> tuple[int, int]:
    """First bit and bits of an instruction's field; all kinds begin alike."""
    layout = FORMATS[Opcode.MATMUL]
    return layout.offsets[name], layout.field(name).bits


@dataclass(frozen=True)
class Shown:
    """A signal of the views.

    Parameters
    ----------
    path : str
        From the test bench on.
    bits : int
    words : bool
        Shown by the names of its enumeration; else a bit as it is, and several as a decimal number.
    """

    path: str
    bits: int = 1
    words: bool = False

    @property
    def ranged(self) -> str:
        """As GTKWave names it."""
        return self.path if self.bits == 1 else f"{self.path}[{self.bits - 1}:0]"


_INSTRUCTION = Shown("testbench.dut.core.feeder.walk.index", _INDEX_BITS)
_TOKEN = Shown("testbench.waves_feeder_token", _TOKEN_BITS)


def shown(config: AcceleratorConfig) -> dict[str, list[Shown]]:
    """What the views show, by group."""
    mirrored = {mirror.name: Shown(mirror.path, mirror.bits, words=bool(mirror.words)) for mirror in mirrors()}

    def of(unit: str) -> list[Shown]:
        return [mirrored[name] for name in mirrored if name.startswith(f"{unit}_")]

    channels = ("arvalid", "arready", "rvalid", "awvalid", "wvalid", "wready", "bvalid")
    handshakes = [f"m_axi_w{port}_{name}" for port in range(config.ports) for name in channels]
    handshakes += [f"m_axi_c_{name}" for name in ("arvalid", "rvalid")]
    return {
        "run": [
            Shown("testbench.aclk"),
            mirrored["state"],
            Shown("testbench.waves_cycle", 64),
            Shown("testbench.marks", 32),
        ],
        "feeder": [_INSTRUCTION, *of("feeder")],
        "loader": of("loader"),
        "array": of("array"),
        "load queue": of("load"),
        "AXI": [Shown(f"testbench.dut.{name}") for name in handshakes],
    }


def instruction_names(program: ProgramImage, task: str) -> list[str]:
    """Every instruction of a program's compute stream, in words."""
    stream = program.task(task)["compute"]
    first = stream["address"] - program.address
    words = [
        program.memory[first + k * INSTRUCTION_BYTES : first + (k + 1) * INSTRUCTION_BYTES]
        for k in range(stream["count"])
    ]
    return [f"{number} {' '.join(disassemble(bytes(word)).split())}" for number, word in enumerate(words)]


def token_names(program: ProgramImage) -> list[str]:
    """Every number that the feeder gives to a token, in words.

    Numbers continue from image to image, and in attention from head to head.
    """
    network, config = program.network, program.config
    extra = [f"learnt token {number}" for number in range(1, network.extra_tokens + 1)]
    down, across = network.image.grid
    patches = [f"patch {row},{column}" for row in range(down) for column in range(across)]
    names = [*(["class token"] if network.class_token else []), *extra, *patches]
    count = min(2 * config.max_tokens, 1 << _TOKEN_BITS)
    return [f"{number} {names[number % len(names)]}" for number in range(count)]


def _gtkw(groups: Mapping[str, Sequence[Shown]]) -> Iterator[str]:
    """GTKWave's save file: flags in hexadecimal, a name a line."""
    translations = {_INSTRUCTION: f"^1 {VIEW_FILES[2]}", _TOKEN: f"^2 {VIEW_FILES[3]}"}
    yield f'[dumpfile] "{WAVES}"'
    yield "[timestart] 0"
    yield "[size] 1500 900"
    yield f"*-{_ZOOM}.0 -1"  # no marker
    yield "[signals_width] 300"
    for title, signals in groups.items():
        yield "@200"  # a comment
        yield f"-{title}"
        for signal in signals:
            if signal in translations:
                yield "@2024"  # decimal, through a file
                yield translations[signal]
            else:
                yield "@100000028" if signal.words else "@28" if signal.bits == 1 else "@24"
            yield signal.ranged


def _sucl(groups: Mapping[str, Sequence[Shown]]) -> Iterator[str]:
    """Surfer's commands."""
    for title, signals in groups.items():
        yield f"divider_add {title}"
        yield from (f"variable_add {signal.path}" for signal in signals)
    yield "zoom_fit"


def write_views(folder: Path, config: AcceleratorConfig, instructions: Sequence[str], tokens: Sequence[str]) -> None:
    """Write `VIEW_FILES` beside the waves: a view for each viewer, and the names of numbers for both."""
    groups = shown(config)
    named = (("instructions", _INDEX_BITS, instructions), ("tokens", _TOKEN_BITS, tokens))
    tables = ["".join(f"{number} {name}\n" for number, name in enumerate(names)) for _, _, names in named]
    heads = [f"Name = Moesaic {kind}\nBits = {bits}\n" for kind, bits, _ in named]
    texts = (
        "\n".join([*_gtkw(groups), ""]),
        "\n".join([*_sucl(groups), ""]),
        *tables,
        *(head + table for head, table in zip(heads, tables, strict=True)),
    )
    for name, text in zip(VIEW_FILES, texts, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def keep(source: Path, folder: Path) -> bool:
    """Move the waves of a run to its results; False if the run ended before the window."""
    if not source.is_file():
        return False
    shutil.move(source, folder / WAVES)
    return True
