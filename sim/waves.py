"""A window of a run as waves (FST), and views of it for Surfer and GTKWave."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moesaic.compiler.image import ProgramImage
from moesaic.errors import InputError
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import FORMATS, INSTRUCTION_BYTES, Opcode, disassemble
from moesaic.sim.tools import ToolMissing, find_compiler

__all__ = [
    "VIEW_FILES",
    "WAVES",
    "Shown",
    "Window",
    "check_headers",
    "instruction_names",
    "keep",
    "shown",
    "write_views",
]

WAVES = "waves.fst"
VIEW_FILES = ("waves.gtkw", "waves.sucl", "waves-instructions.txt", ".surfer/mappings/moesaic_instructions.txt")
_MAPPING = "Moesaic instructions"
_INDEX_BITS = 24  # of the feeder's instruction index
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
        """Room for its file: eight bytes a cycle for each multiplier, more than was seen."""
        return 8 * config.macs_per_cycle * (self.end - self.first)


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
        done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolMissing(
            "waves need the libraries lz4 and zlib with their headers; type: "
            "sudo apt-get install -y liblz4-dev zlib1g-dev"
        )


@dataclass(frozen=True)
class Shown:
    """A signal of the views.

    Parameters
    ----------
    path : str
        From the test bench on.
    bits : int
    numbers : bool
        Shown as a decimal number; else as it is: a bit, or the names of its enumeration.
    """

    path: str
    bits: int = 1
    numbers: bool = False

    @property
    def ranged(self) -> str:
        """As GTKWave names it."""
        return self.path if self.bits == 1 else f"{self.path}[{self.bits - 1}:0]"


_INSTRUCTION = Shown("testbench.dut.core.feeder.walk.index", _INDEX_BITS, numbers=True)


def shown(config: AcceleratorConfig) -> dict[str, list[Shown]]:
    """What the views show, by group."""
    counters = ("array_busy", "array_starved", "array_loading", "array_blocked", "array_idle")
    handshakes = [f"m_axi_w{port}_{name}" for port in range(config.ports) for name in ("arvalid", "arready", "rvalid")]
    handshakes += [f"m_axi_c_{name}" for name in ("arvalid", "rvalid", "awvalid", "wvalid", "bvalid")]
    return {
        "run": [
            Shown("testbench.aclk"),
            Shown("testbench.waves_state", 3),
            Shown("testbench.waves_cycle", 64, numbers=True),
            Shown("testbench.marks", 32, numbers=True),
        ],
        "feeder": [
            _INSTRUCTION,
            Shown("testbench.waves_feeder_opcode", _opcode_bits()),
            Shown("testbench.waves_feeder_stream", _stream_bits()),
        ],
        "loader": [
            Shown("testbench.waves_loader_opcode", _opcode_bits()),
            *(Shown(f"testbench.dut.core.loader.{name}") for name in ("busy", "starved", "blocked")),
        ],
        "array, cycles": [Shown(f"testbench.waves_{name}", 64, numbers=True) for name in counters],
        "AXI": [Shown(f"testbench.dut.{name}") for name in handshakes],
    }


def _opcode_bits() -> int:
    return FORMATS[Opcode.MATMUL].field("opcode").bits


def _stream_bits() -> int:
    return FORMATS[Opcode.MATMUL].field("stream").bits


def instruction_names(program: ProgramImage, task: str) -> list[str]:
    """Every instruction of a program's compute stream, in words."""
    stream = program.task(task)["compute"]
    first = stream["address"] - program.address
    words = [
        program.memory[first + k * INSTRUCTION_BYTES : first + (k + 1) * INSTRUCTION_BYTES]
        for k in range(stream["count"])
    ]
    return [f"{number} {' '.join(disassemble(bytes(word)).split())}" for number, word in enumerate(words)]


def _gtkw(groups: dict[str, list[Shown]]) -> Iterator[str]:
    """GTKWave's save file: flags in hexadecimal, a name a line."""
    yield f'[dumpfile] "{WAVES}"'
    yield "[timestart] 0"
    for title, signals in groups.items():
        yield "@200"  # a comment
        yield f"-{title}"
        for signal in signals:
            if signal == _INSTRUCTION:
                yield "@2024"  # decimal, through a file
                yield f"^1 {VIEW_FILES[2]}"
            else:
                yield "@24" if signal.numbers else ("@28" if signal.bits == 1 else "@22")
            yield signal.ranged


def _sucl(groups: dict[str, list[Shown]]) -> Iterator[str]:
    """Surfer's commands."""
    for title, signals in groups.items():
        yield f"divider_add {title}"
        yield from (f"variable_add {signal.path}" for signal in signals)
    yield "zoom_fit"


def write_views(folder: Path, config: AcceleratorConfig, names: Sequence[str]) -> None:
    """Write `VIEW_FILES` beside the waves: a view for each viewer, and the names of instructions for both."""
    groups = shown(config)
    texts = (
        "\n".join([*_gtkw(groups), ""]),
        "\n".join([*_sucl(groups), ""]),
        "".join(f"{number} {name}\n" for number, name in enumerate(names)),
        "\n".join(
            [f"Name = {_MAPPING}", f"Bits = {_INDEX_BITS}", *(f"{n} {name}" for n, name in enumerate(names)), ""]
        ),
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
