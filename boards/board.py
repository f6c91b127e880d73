"""Boards as data: one TOML file each, read, checked and held in a `Board`."""

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from moesaic.boards.card import Card
from moesaic.boards.family import FAMILIES, Family
from moesaic.boards.host import PcieHost
from moesaic.boards.memory import Memory, parse_memory
from moesaic.boards.resources import Resources
from moesaic.boards.section import BoardError, check_number, require, section
from moesaic.boards.toml_file import name_of, parse_toml, read_toml_text
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.presets import PRESETS
from moesaic.names import check_name

__all__ = [
    "REGISTERS_BYTES",
    "Board",
    "BoardError",
    "Ports",
    "board_names",
    "load_board",
    "parse_board",
]

REGISTERS_BYTES = (
    0x1_0000  # of addresses that the register port gets, the width of its address bus; the interrupt controller as many
)
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"  # part of a name of Vivado's
_LONGEST_TITLE = 100  # characters


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Ports of memory and host in use.

    Parameters
    ----------
    weights : tuple of str
        Memory port of each weight port, in order; results leave over all of them.
    control : str
        Memory port of instructions, which reads alone; results leave over the weight ports.
    registers : str
        Port by which the host reaches the registers.
    registers_base : int
        Their address, a multiple of 64 KiB; where there is an interrupt controller, its registers follow.
    """

    weights: tuple[str, ...]
    control: str
    registers: str
    registers_base: int

    @property
    def interrupt_base(self) -> int:
        """Address of the interrupt controller's registers."""
        return self.registers_base + REGISTERS_BYTES

    @property
    def memory(self) -> dict[str, str]:
        """Memory port by the accelerator's bus: ``m_axi_w0``, ... and ``m_axi_c``."""
        return {**{f"m_axi_w{n}": port for n, port in enumerate(self.weights)}, "m_axi_c": self.control}


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board and the accelerator that fits it.

    Parameters
    ----------
    name : str
        Of the file, without its ending.
    title : str
    part : str
        Vivado's name of the device.
    speed_grade : str
        As in the part's name, ``-2``.
    board_part : str
        Vivado's name of the board.
    board_connections : str
        Connectors to carrier cards, as Vivado's property of that name; empty if none.
    family : str
        A key of `moesaic.boards.family.FAMILIES`.
    clock_mhz : float
        Of the accelerator and its ports.
    accelerator : AcceleratorConfig
        Its `clock_mhz` is the board's.
    model : str
        The largest of the usual models that it is meant for.
    ports : Ports
    memory : Memory
    budget : Resources
        All that the fabric has.
    sources : mapping of str to str
        Where the figures come from.
    pynq : str
        Which PYNQ runs on the board, for people; empty if that is not known.
    card : Card or None
        Of a board whose host is behind PCI Express.

    Raises
    ------
    BoardError
        If figures contradict each other, the family, or the accelerator; the message names the field.
    """

    name: str
    title: str
    part: str
    speed_grade: str
    board_part: str
    board_connections: str = ""
    family: str
    clock_mhz: float
    accelerator: AcceleratorConfig
    model: str
    ports: Ports
    memory: Memory
    budget: Resources
    sources: Mapping[str, str]
    pynq: str = ""
    card: Card | None = None

    def __post_init__(self) -> None:
        check_name("name", self.name, error=BoardError)
        check_name("model", self.model, error=BoardError)
        for field, text in (("title", self.title), ("pynq", self.pynq)):
            require(
                text.isprintable() and len(text) <= _LONGEST_TITLE,
                field,
                f"a line of at most {_LONGEST_TITLE} characters",
                text,
            )
        require(self.family in FAMILIES, "family", f"one of {', '.join(FAMILIES)}", self.family)
        require(
            bool(re.fullmatch(r"x[a-z0-9]+-[A-Za-z0-9-]+", self.part))
            or bool(re.fullmatch(r"xc7z\w+-\d\w*", self.part)),
            "part",
            "a device with package and speed grade, like xczu9eg-ffvb1156-2-e",
            self.part,
        )
        require(
            self.speed_grade.startswith("-") and self.speed_grade in self.part,
            "speed_grade",
            f"that of {self.part}",
            self.speed_grade,
        )
        require(
            bool(re.fullmatch(rf"{_WORD}(:{_WORD}){{3}}", self.board_part)),
            "board_part",
            "vendor:board:part0:version",
            self.board_part,
        )
        require(
            bool(re.fullmatch(rf"({_WORD}( {_WORD}(:{_WORD}){{3}})( (?=.)|$))*", self.board_connections)),
            "board_connections",
            "empty, or pairs of a connector and vendor:board:connector:version",
            self.board_connections,
        )
        require(10 <= self.clock_mhz <= 500, "clock_mhz", "from 10 to 500", self.clock_mhz)
        behind_pcie = isinstance(self.system.host, PcieHost)
        there = f"{'there' if behind_pcie else 'absent'} on {self.system.title}"
        require((self.card is not None) == behind_pcie, "card", there, self.card)
        self._check_ports()
        self._check_memory()
        require(
            self.budget.uram == 0 or self.system.has_uram, "budget.uram", f"0 on {self.system.title}", self.budget.uram
        )
        require(
            not self.accelerator.ultra_ram or self.budget.uram > 0,
            "accelerator.ultra_ram",
            "empty where there is no URAM",
            self.accelerator.ultra_ram,
        )

    def _check_ports(self) -> None:
        ports, system, config = self.ports, self.system, self.accelerator
        for field, names in (("ports.weights", ports.weights), ("ports.control", (ports.control,))):
            for name in names:
                require(name in system.memory, field, f"of {', '.join(system.memory)}", name)
        used = [*ports.weights, ports.control]
        require(len(set(used)) == len(used), "ports.weights and ports.control", "different ports", used)
        if isinstance(system.host, PcieHost):
            own = system.host.memory_port
            require(own not in used, "ports.weights and ports.control", f"other ports than the host's ({own})", used)
        require(
            len(ports.weights) == config.ports,
            "ports.weights",
            f"{config.ports} ports, as accelerator {config.name} has",
            list(ports.weights),
        )
        require(
            config.port_bits in system.port_bits,
            "accelerator.port_bits",
            f"one of {', '.join(map(str, system.port_bits))} on {system.title}",
            config.port_bits,
        )
        require(
            config.max_burst <= system.max_burst,
            "accelerator.max_burst",
            f"at most {system.max_burst} on {system.title}",
            config.max_burst,
        )
        require(
            ports.registers in system.managers,
            "ports.registers",
            f"one of {', '.join(system.managers)}",
            ports.registers,
        )
        manager = system.managers[ports.registers]
        last = manager.base + manager.bytes - 2 * REGISTERS_BYTES
        require(
            manager.base <= ports.registers_base <= last and ports.registers_base % REGISTERS_BYTES == 0,
            "ports.registers_base",
            f"a multiple of {REGISTERS_BYTES:#x} from {manager.base:#x} to {last:#x} ({ports.registers})",
            hex(ports.registers_base),
        )

    def _check_memory(self) -> None:
        memory, config = self.memory, self.accelerator
        require(memory.bits in (16, 32, 64), "memory.bits", "16, 32 or 64", memory.bits)
        require(memory.mega_transfers > 0, "memory.mega_transfers", "positive", memory.mega_transfers)
        require(memory.bytes > 0, "memory.bytes", "positive", memory.bytes)
        self._check_channels()
        require(
            memory.window_base >= 0 and memory.window_base % 4096 == 0,
            "memory.window_base",
            "a multiple of 4096",
            hex(memory.window_base),
        )
        end = memory.window_base + memory.window_bytes
        low = min(memory.bytes, self.system.low_bytes, 1 << config.addr_bits)  # more lies elsewhere in the map
        require(
            memory.window_bytes > 0 and memory.window_bytes % 4096 == 0 and end <= low,
            "memory.window_bytes",
            f"a multiple of 4096, and end below {low:#x}",
            hex(memory.window_bytes),
        )

    def _check_channels(self) -> None:
        """Each weight port has a channel of its own, the control port the next one, from the window's first byte on."""
        memory, used = self.memory, [*self.ports.weights, self.ports.control]
        require(memory.channels > 0, "memory.channels", "positive", memory.channels)
        if memory.channels == 1:
            require(memory.channel_bytes == 0, "memory.channel_bytes", "0 with one channel", memory.channel_bytes)
            return
        require(memory.channels >= len(self.ports.weights), "memory.channels", "one for a weight port", memory.channels)
        require(
            memory.channel_bytes > 0 and memory.channel_bytes % 4096 == 0,
            "memory.channel_bytes",
            "a multiple of 4096",
            memory.channel_bytes,
        )
        first = memory.window_base // memory.channel_bytes
        behind = [self.system.memory[name].channel for name in used]
        require(
            memory.window_base % memory.channel_bytes == 0 and behind == list(range(first, first + len(used))),
            "memory.window_base",
            f"the first byte of the channel behind {used[0]}, with those of the other ports after it",
            hex(memory.window_base),
        )

    @property
    def system(self) -> Family:
        """What the family offers."""
        return FAMILIES[self.family]

    @property
    def stream_gbs(self) -> float:
        """What the weight ports together can take, GB/s."""
        return self.accelerator.stripe_bytes * self.clock_mhz / 1e3

    def replace(self, **changes: Any) -> "Board":
        """A variant with some fields changed; a new accelerator gets the board's clock.

        Raises
        ------
        BoardError
        """
        return _with_clock(dataclasses.replace(self, **changes))


def _with_clock(board: Board) -> Board:
    if board.accelerator.clock_mhz == board.clock_mhz:
        return board
    return dataclasses.replace(board, accelerator=board.accelerator.replace(clock_mhz=board.clock_mhz))


def _accelerator(value: object, name: str) -> AcceleratorConfig:
    if isinstance(value, str):
        require(value in PRESETS, "accelerator", f"a table or one of {', '.join(PRESETS)}", value)
        return PRESETS[value]
    if isinstance(value, dict):
        config: AcceleratorConfig = section(AcceleratorConfig, "accelerator", {"name": name, **value})
        check_name("accelerator.name", config.name, error=BoardError)
        return config
    raise BoardError(f"accelerator must be the name of a preset or a table of sizes, not {value!r}")


def parse_board(text: str, *, name: str) -> Board:
    """A board from the text of its file.

    Raises
    ------
    BoardError
        If it is not TOML, or a field is missing, unknown or wrong; the message names the board and the field.
    """
    try:
        table = parse_toml(text)
        sections: dict[str, Any] = {
            "accelerator": _accelerator(table.pop("accelerator", None), name),
            "ports": section(Ports, "ports", table.pop("ports", None)),
            "memory": parse_memory(table.pop("memory", None)),
            "budget": section(Resources, "budget", table.pop("budget", None)),
            "sources": table.pop("sources", {}),
            "card": section(Card, "card", table.pop("card")) if "card" in table else None,
        }
        sources = sections["sources"]
        require(
            isinstance(sources, dict) and all(isinstance(text, str) for text in sources.values()),
            "sources",
            "a table of texts",
            sources,
        )
        plain = {f.name: f for f in dataclasses.fields(Board) if f.name not in sections and f.name != "name"}
        for field, value in table.items():
            require(field in plain, field, f"absent (fields: {', '.join([*plain, *sections])})", value)
        for field, entry in plain.items():
            if field not in table:
                if entry.default is dataclasses.MISSING:
                    raise BoardError(f"{field} must be given")
            elif field == "clock_mhz":
                check_number(table[field], int | float, field, "a number")
                table[field] = float(table[field])
            else:
                require(isinstance(table[field], str) and bool(table[field]), field, "a text", table[field])
        return _with_clock(Board(name=name, **table, **sections))
    except tomllib.TOMLDecodeError as error:
        raise BoardError(f"board '{name}': the file must be TOML: {error}") from error
    except BoardError as error:
        raise BoardError(f"board '{name}': {error}") from error


def board_names() -> list[str]:
    """Boards that come with the package."""
    folder = resources.files("moesaic.boards") / "data"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_board(name: str | Path) -> Board:
    """A board by name, or from a TOML file of one's own.

    Parameters
    ----------
    name : str or Path
        One of `board_names`, or a path that ends in ``.toml``.

    Raises
    ------
    BoardError
        If there is no such board or file, or it is wrong.
    """
    text = str(name)
    if text.endswith(".toml"):
        path = Path(text)
        return parse_board(read_toml_text(path, what="board", error=BoardError), name=name_of(path))
    if text not in board_names():
        raise BoardError(f"board must be one of {', '.join(board_names())}, or a TOML file, not {text!r}")
    return parse_board(
        (resources.files("moesaic.boards") / "data" / f"{text}.toml").read_text(encoding="utf-8"), name=text
    )
