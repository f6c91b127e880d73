"""Whether a quantised network from a file is one: the tree of a hollow one, with numbers that can be computed with."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from moesaic.golden.finer import NO_FINER
from moesaic.golden.hollow import hollow_model
from moesaic.golden.layers.linear import READS
from moesaic.golden.network import Network
from moesaic.golden.qmodel import WEIGHTS, QuantModel

__all__ = ["check_quantised"]

_CHOICES = {"weights": WEIGHTS, "reads": tuple(READS)}  # what the hollow network does not know
_SIZES = ("dim", "heads", "top_k", "bits")  # whole numbers that it does
_MOST_SHIFT = 62
_LARGEST = 1 << 31


def _refuse(where: str, requirement: object, value: object) -> NoReturn:
    raise ValueError(f"{where} must be {requirement}, not {value!r}")


def _check_number(value: int, hollow: int, field: str, where: str) -> None:
    if field in _SIZES and value != hollow:
        _refuse(where, hollow, value)
    most = _MOST_SHIFT if "shift" in field else _LARGEST
    if not -most <= value <= most:
        _refuse(where, f"from {-most} to {most}", value)


def _check_array(value: np.ndarray, hollow: np.ndarray, where: str) -> None:
    kinds = (np.int8, np.int16) if hollow.dtype == np.int8 else (hollow.dtype.type,)  # weights of 16 bits
    if value.shape != hollow.shape or value.dtype.type not in kinds:
        found = f"{value.dtype.name} {list(value.shape)}"
        _refuse(where, f"{' or '.join(kind.__name__ for kind in kinds)} {list(hollow.shape)}", found)


def _check_table(value: dict[str, Any], hollow: dict[str, Any], network: Network, count: int, where: str) -> None:
    if not hollow:  # shares of experts, by task, where they were counted
        for task, shares in value.items():
            if task not in network.tasks or not isinstance(shares, tuple) or len(shares) != count:
                _refuse(f"{where}.{task}", f"shares of {count} experts for one of the tasks", shares)
            if not all(isinstance(share, int | float) and 0 <= share <= 1 for share in shares):
                _refuse(f"{where}.{task}", "shares from 0 to 1", shares)
        return
    if set(value) != set(hollow):
        _refuse(where, f"of {', '.join(hollow)}", ", ".join(value))
    for key, expected in hollow.items():
        _check(value[key], expected, network, "", f"{where}.{key}")


def _check(value: Any, hollow: Any, network: Network, field: str, where: str, count: int = 0) -> None:
    """A value beside the one of the hollow network that it stands for.

    `field` is its name in its dataclass, which has `count` experts.
    """
    if isinstance(hollow, float):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            _refuse(where, "a positive number", value)
    elif type(value) is not type(hollow):
        _refuse(where, type(hollow).__name__, type(value).__name__)
    elif hollow is None:
        return
    elif isinstance(hollow, Network):
        if value != hollow:
            _refuse(where, f"that of the program, {hollow.name}", value.name)
    elif dataclasses.is_dataclass(hollow):
        experts = len(getattr(hollow, "experts", ()))
        for entry in dataclasses.fields(hollow):
            inner = f"{where}.{entry.name}".lstrip(".")
            _check(getattr(value, entry.name), getattr(hollow, entry.name), network, entry.name, inner, experts)
    elif isinstance(hollow, np.ndarray):
        _check_array(value, hollow, where)
    elif isinstance(hollow, dict):
        _check_table(value, hollow, network, count, where)
    elif isinstance(hollow, tuple):
        if len(value) != len(hollow):
            _refuse(where, f"of {len(hollow)} parts", len(value))
        if hollow and isinstance(hollow[0], int):  # an order
            if any(type(item) is not int for item in value) or sorted(value) != sorted(hollow):
                _refuse(where, f"an order of {len(hollow)} experts", value)
        else:
            for index, (item, expected) in enumerate(zip(value, hollow, strict=True)):
                _check(item, expected, network, "", f"{where}.{index}")
    elif isinstance(hollow, bool | str):
        if value not in _CHOICES.get(field, (hollow,)):
            _refuse(where, " or ".join(map(str, _CHOICES.get(field, (hollow,)))), value)
    else:
        _check_number(value, hollow, field, where)


def check_quantised(
    qmodel: QuantModel, network: Network, expert_bits: int, finer: Mapping[str, str] = NO_FINER
) -> None:
    """Whether a network that was read is of a model's sizes and widths, so that its integers can be computed with.

    Parameters
    ----------
    qmodel : QuantModel
    network : Network
    expert_bits, finer
        As in `quantize.quantize`.

    Raises
    ------
    ValueError
        If a field is of another type or out of range, or an array of another type or shape; the message names it.
    """
    _check(qmodel, hollow_model(network, expert_bits, finer), network, "", "")
    if qmodel.finer != finer:
        _refuse("finer", dict(finer), qmodel.finer)
