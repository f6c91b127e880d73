"""What is checked around a run: what answers, what is asked of it, and that all of it was done."""

import math
from collections.abc import Mapping

import numpy as np

from moesaic.boards.errors import RunIncomplete, WrongAccelerator
from moesaic.compiler.image import ProgramImage
from moesaic.errors import InputError
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.spec.registers import ID_VALUE, VERSION_VALUE, RegisterMap

__all__ = ["check_count", "check_done", "check_identity", "check_seconds", "check_value", "expected_counters"]

MAJOR = 0xFFFF_0000  # of VERSION


def _is_whole(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def check_count(name: str, number: int, least: int) -> int:
    """A whole number of at least so much.

    Raises
    ------
    InputError
    """
    if not _is_whole(number) or number < least:
        raise InputError(f"{name} must be a whole number, {least} or more, not {number!r}")
    return number


def check_seconds(timeout: float) -> float:
    """A limit that ends: with nan, no comparison is ever true.

    Raises
    ------
    InputError
    """
    number = isinstance(timeout, int | float | np.integer | np.floating) and not isinstance(timeout, bool)
    if not number or not 0 < timeout < math.inf:
        raise InputError(f"timeout must be a positive number of seconds, not {timeout!r}")
    return timeout


def check_value(table: RegisterMap, name: str, number: int) -> int:
    """A number that the registers of a value can hold: cut off, it would be another one.

    Raises
    ------
    InputError
    """
    if name not in table.values:
        raise InputError(f"register value must be one of {', '.join(table.values)}, not {name!r}")
    bits = sum(word.width for word in table.values[name])
    if not _is_whole(number) or not 0 <= number < 1 << bits:
        raise InputError(f"{name} must be a whole number from 0 to 2**{bits} - 1, not {number!r}")
    return number


def check_identity(program: ProgramImage, *, identity: int, version: int, config_hash: int) -> None:
    """ID, VERSION and CONFIG_HASH of the accelerator that a program was compiled for.

    Raises
    ------
    WrongAccelerator
    """
    if identity != ID_VALUE:
        raise WrongAccelerator(
            f"ID must be {ID_VALUE:#010x}, not {identity:#010x}: no Moesaic accelerator answers at this address"
        )
    if version & MAJOR != VERSION_VALUE & MAJOR:
        raise WrongAccelerator(
            f"VERSION must be {VERSION_VALUE >> 16}.x, not {version >> 16}.{version & 0xFFFF}: "
            "this driver is for another register map"
        )
    config, wanted = program.config, int(program.config.hash[-8:], 16)
    if config_hash != wanted:
        known = [name for name, preset in PRESETS.items() if int(preset.hash[-8:], 16) == config_hash]
        sizes = f"{config.rows} x {config.lanes}, {config.ports} ports of {config.port_bits} bits"
        raise WrongAccelerator(
            f"CONFIG_HASH must be {wanted:#010x}, not {config_hash:#010x}: the program ({program.network.name}) was "
            f"compiled for '{config.name}' ({sizes}), the accelerator that answers is "
            + (f"'{known[0]}'" if known else "of a configuration that is no preset")
            + "; compile for the board, or load the bitstream that belongs to the program"
        )


def expected_counters(program: ProgramImage, task: str) -> dict[str, int]:
    """Counters that a whole run of a task leaves, by the manifest."""
    entry = program.task(task)
    return {
        "instructions_retired": sum(entry[stream]["count"] for stream in ("load", "compute", "store")),
        "marks": len(entry["marks"]),
        "store_bytes": (1 + max(program.places(task))) * program.item_bytes,
    }


def check_done(counters: Mapping[str, int], expected: Mapping[str, int]) -> None:
    """All that a program does was done.

    Raises
    ------
    RunIncomplete
    """
    wrong = {name: (value, counters[name]) for name, value in expected.items() if counters[name] != value}
    if wrong:
        raise RunIncomplete(wrong)
