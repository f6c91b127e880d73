"""Search spaces: which values of which sizes, as data and as a file, and the configurations that they make for
a model.
"""

import dataclasses
import itertools
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moesaic.boards.board import Board
from moesaic.boards.configuration import Configuration, ConfigurationError, on_board
from moesaic.boards.fit_bound import ultra_ram_for
from moesaic.boards.toml_file import parse_toml, read_toml_text
from moesaic.compiler.batch import MOST_IMAGES
from moesaic.compiler.layout import HeadLayout, words_for
from moesaic.errors import InputError
from moesaic.flow.conditions import timing_of
from moesaic.golden.network import Network
from moesaic.golden.qmodel import DEFAULT_WIDTHS, WIDTHS
from moesaic.hw.spec.chains import most_probability_bits
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = [
    "AUTO_SPECULATION",
    "AXES",
    "Choice",
    "Space",
    "configurations",
    "default_space",
    "read_space",
    "with_fields",
]

AUTO_SPECULATION = "auto"  # as many experts as the compiler would choose
# What can be searched: the kind of its values, and what they are.
AXES: Mapping[str, tuple[type, str]] = {
    "rows": (int, "dot products in parallel"),
    "lanes": (int, "multipliers per dot product"),
    "load_rows": (int, "stationary rows written per cycle: a word of the weight stream is load_rows * lanes bytes"),
    "ports": (int, "weight ports"),
    "port_bits": (int, "width of each"),
    "prefetch_kib": (int, "prefetch buffer, KiB"),
    "activation_kib": (int, "activation memory, KiB"),
    "ultra_ram": (bool, "prefetch buffer and activation memory in UltraRAM, and others if block RAM is short"),
    "clock_mhz": (float, "clock"),
    "widths": (
        str,
        f"bits of weights and activations: {', '.join(name for name, bits in WIDTHS.items() if bits <= 8)}",
    ),
    "batch": (int, "images that one program computes: the memories hold all of them"),
    "speculate": (int, f"experts fetched before the router has decided; '{AUTO_SPECULATION}': the compiler's choice"),
}
# Fields of an accelerator that a search chooses itself, for the model or by axes of other units.
_CHOSEN = (
    "name",
    "prefetch_words",
    "activation_words",
    "residual_words",
    "kv_words",
    "max_tokens",
    "max_dim",
    "experts",
    "max_top_k",
    "ultra_ram",
)
_LARGEST = 1 << 20  # value of any axis
_DEPTH = 512  # words: the least that a block RAM holds, so that less saves nothing


@dataclass(frozen=True)
class Space:
    """Values of each axis; the product of all is searched.

    Parameters
    ----------
    axes : mapping of str to tuple
    """

    axes: Mapping[str, tuple[Any, ...]]

    @property
    def size(self) -> int:
        """Combinations, whether they are possible or not."""
        result = 1
        for values in self.axes.values():
            result *= len(values)
        return result


@dataclass(frozen=True)
class Choice:
    """A configuration to be tried.

    Parameters
    ----------
    accelerator : AcceleratorConfig
    speculate : int or None
        None: the compiler's choice.
    widths : str
        Of weights and activations, as `golden.qmodel.WIDTHS` names them.
    batch : int
        Images that one program computes.
    """

    accelerator: AcceleratorConfig
    speculate: int | None = None
    widths: str = DEFAULT_WIDTHS
    batch: int = 1

    @property
    def expert_bits(self) -> int:
        """Bits of a weight of an expert."""
        return WIDTHS[self.widths]


def default_space(board: Board) -> Space:
    """Sizes around those of the board's own accelerator."""
    own, system = board.accelerator, board.system
    prefetch = own.prefetch_bytes >> 10
    activation = own.activation_words * own.lanes >> 10
    return Space(
        {
            "rows": tuple(size for size in (own.rows // 4, own.rows // 2, own.rows, 2 * own.rows) if size >= 4),
            "lanes": tuple(size for size in (own.lanes // 2, own.lanes, 2 * own.lanes) if 8 <= size <= 128),
            "load_rows": (2, 4),
            "ports": tuple(ports for ports in (1, 2, 4) if ports <= len(board.ports.weights)),
            "port_bits": system.port_bits[-2:],
            "prefetch_kib": tuple(size for size in (prefetch // 4, prefetch // 2, prefetch, 2 * prefetch) if size),
            "activation_kib": tuple(size for size in (activation // 4, activation // 2, activation) if size),
            "ultra_ram": (False, True) if board.budget.uram else (False,),
            "clock_mhz": (timing_of(own, board).used_mhz,),
            "widths": (DEFAULT_WIDTHS,),
            "batch": (1,),
            "speculate": (AUTO_SPECULATION,),
        }
    )


def _value(axis: str, value: object) -> Any:
    kind = AXES[axis][0]
    if axis == "speculate" and value == AUTO_SPECULATION:
        return value
    if axis == "widths":
        # What wide operands cost is not estimated.
        if not isinstance(value, str) or WIDTHS.get(value, 16) > 8:
            raise ValueError(f"one of {', '.join(name for name, bits in WIDTHS.items() if bits <= 8)}")
        return value
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or (kind is int and not isinstance(value, int)):
        raise ValueError("a whole number" if kind is int else "a number")
    if value < 0 or (value == 0 and axis != "speculate"):
        raise ValueError("positive")
    largest = MOST_IMAGES if axis == "batch" else _LARGEST
    if not value <= largest:  # nor NaN
        raise ValueError(f"at most {largest}")
    return kind(value)


def read_space(path: Path, board: Board) -> Space:
    """The space that a TOML file describes: a value or a list of values for each axis; others as in `default_space`.

    Raises
    ------
    InputError
        If the file cannot be read, or an axis is unknown, empty, or has a value of the wrong kind.
    """
    text = read_toml_text(path, what="space", error=InputError)
    try:
        table = parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"space {str(path)!r} must be TOML: {error}") from error
    axes = dict(default_space(board).axes)
    for axis, given in table.items():
        if axis not in AXES:
            raise InputError(f"space {str(path)!r}: {axis} must be one of {', '.join(AXES)}")
        values = given if isinstance(given, list) else [given]
        if not values:
            raise InputError(f"space {str(path)!r}: {axis} must have at least one value, not []")
        try:
            axes[axis] = tuple(dict.fromkeys(_value(axis, value) for value in values))
        except ValueError as error:
            raise InputError(f"space {str(path)!r}: {axis} must be {error}, not {given!r}") from error
    return Space(axes)


def with_fields(space: Space, board: Board, fields: Mapping[str, Any]) -> tuple[Space, Board]:
    """The space with one value for each axis that is a field given here, and the board's accelerator with the others.

    Raises
    ------
    InputError
        If a field is one that the search chooses, or a value is none that an accelerator can have.
    """
    axes, rest = dict(space.axes), dict[str, Any]()
    for name, value in fields.items():
        if name in _CHOSEN:
            raise InputError(
                f"set must name no field that a search chooses for the model, not {name!r}: "
                "a file for --space says which memories are tried"
            )
        if name in AXES:
            axes[name] = (value,)
        else:
            rest[name] = value
    accelerator = Configuration(None, fields).on(board.accelerator).replace(name=board.accelerator.name)
    kept = {name: getattr(board.accelerator, name) for name in fields if name not in rest}
    return Space(axes), dataclasses.replace(board, accelerator=accelerator.replace(**kept))


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _sized(board: Board, model: Network, values: Mapping[str, Any]) -> AcceleratorConfig:
    """The board's accelerator with other values, and memories as large as the model needs."""
    own = board.accelerator
    rows, lanes, load_rows = values["rows"], values["lanes"], values["load_rows"]
    layouts = (HeadLayout(heads=heads, head_dim=width, lanes=lanes) for heads, width in model.head_splits)
    head_words = max((layout.words for layout in layouts), default=0)
    tokens = values["batch"] * model.tokens
    for axis, bytes_ in (("prefetch_kib", load_rows * lanes), ("activation_kib", lanes)):
        if (values[axis] << 10) % bytes_:
            raise ValueError(f"{axis} must be whole words of {bytes_} bytes, not {values[axis]!r}")
    sized = own.replace(
        name=(
            f"{rows}x{lanes}-load{load_rows}-ports{values['ports']}x{values['port_bits']}-prefetch{values['prefetch_kib']}"
            f"-act{values['activation_kib']}{'-ultra' if values['ultra_ram'] else ''}-{values['clock_mhz']:g}mhz"
            f"{'-batch' + str(values['batch']) if values['batch'] > 1 else ''}"
        ).replace(".", "p"),
        rows=rows,
        lanes=lanes,
        load_rows=load_rows,
        ports=values["ports"],
        port_bits=values["port_bits"],
        prefetch_words=(values["prefetch_kib"] << 10) // (load_rows * lanes),
        activation_words=(values["activation_kib"] << 10) // lanes,
        residual_words=_up(tokens * words_for(model.dim, lanes), _DEPTH),
        kv_words=_up(2 * tokens * max(head_words, 1), _DEPTH),
        max_tokens=max(8, _up(tokens, 8)),
        max_dim=max(own.max_dim, model.dim, lanes),
        experts=max(own.experts, model.most_experts),
        max_top_k=max(own.max_top_k, model.most_top_k),
        narrow_weights=own.narrow_weights and load_rows < rows,
        packed_keys=own.packed_keys and 2 * rows <= lanes,
        probability_bits=min(own.probability_bits, most_probability_bits(rows, lanes)),
        ultra_ram=(),
        clock_mhz=values["clock_mhz"],
    )
    return sized.replace(ultra_ram=ultra_ram_for(sized, board.budget)) if values["ultra_ram"] else sized


def _reason(error: Exception) -> str:
    return str(error).partition(", not")[0].rpartition(": ")[2]


def _objection(board: Board, accelerator: AcceleratorConfig) -> str:
    try:
        on_board(board, accelerator)
    except ConfigurationError as error:
        return _reason(error)
    return ""


def configurations(space: Space, board: Board, model: Network, refused: Counter[str]) -> Iterator[Choice]:
    """The possible configurations of a space; `refused` counts the others by the field that forbids them."""
    suited: dict[tuple[Any, ...], str] = {}  # what the board objects to, by all that it looks at
    for combination in itertools.product(*space.axes.values()):
        values = dict(zip(space.axes, combination, strict=True))
        speculate = values["speculate"]
        if speculate != AUTO_SPECULATION and speculate > model.most_experts:
            refused[f"speculate must be at most {model.most_experts}"] += 1
            continue
        narrow = WIDTHS[values["widths"]] < 8
        if narrow and not model.most_experts:
            refused[f"widths must be {DEFAULT_WIDTHS} for a model without experts"] += 1
            continue
        try:
            accelerator = _sized(board, model, values)
        except ValueError as error:
            refused[_reason(error)] += 1
            continue
        if narrow and not accelerator.narrow_weights:
            refused[f"load_rows must be below rows for {values['widths']}"] += 1
            continue
        looked_at = (
            accelerator.ports,
            accelerator.port_bits,
            accelerator.max_burst,
            accelerator.ultra_ram,
            accelerator.clock_mhz,
        )
        if looked_at not in suited:
            suited[looked_at] = _objection(board, accelerator)
        if suited[looked_at]:
            refused[suited[looked_at]] += 1
            continue
        auto = speculate == AUTO_SPECULATION
        yield Choice(accelerator, None if auto else speculate, values["widths"], values["batch"])
