"""Memories of a flat design in Yosys's JSON that take nothing which they do not write."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["only_what_is_written"]

Bit = int | str  # number of a net, or "0", "1", "x"


class _Gates:
    """New cells of a module, with new nets."""

    def __init__(self, module: Mapping[str, Any]) -> None:
        nets = [
            bit
            for cell in module["cells"].values()
            for bits in cell["connections"].values()
            for bit in bits
            if isinstance(bit, int)
        ]
        self.cells: dict[str, Any] = {}
        self._next = itertools.count(max(nets, default=1) + 1)

    def gate(self, kind: str, a: Bit, b: Bit) -> Bit:
        net = next(self._next)
        self.cells[f"$written${net}"] = {
            "type": kind,
            "connections": {"A": [a], "B": [b], "Y": [net]},
            "port_directions": {"A": "input", "B": "input", "Y": "output"},
        }
        return net


def _ports(bits: Sequence[Bit], width: int) -> Iterator[Sequence[Bit]]:
    return (bits[low : low + width] for low in range(0, len(bits), width))


def _masked(cell: Mapping[str, Any], gates: _Gates) -> dict[str, Any]:
    """The same memory: data where a bit is written, the address where any bit of the word is."""
    pins = cell["connections"]
    width, address_bits = (int(cell["parameters"][name], 2) for name in ("WIDTH", "ABITS"))
    data, addresses = [], []
    for enable, taken, address in zip(
        _ports(pins["WR_EN"], width),
        _ports(pins["WR_DATA"], width),
        _ports(pins["WR_ADDR"], address_bits),
        strict=True,
    ):
        data += [gates.gate("$_AND_", one, bit) for one, bit in zip(enable, taken, strict=True)]
        first, *others = dict.fromkeys(enable)
        for one in others:
            first = gates.gate("$_OR_", first, one)
        addresses += [gates.gate("$_AND_", first, bit) for bit in address]
    return {**cell, "connections": {**pins, "WR_DATA": data, "WR_ADDR": addresses}}


def only_what_is_written(module: Mapping[str, Any]) -> dict[str, Any]:
    """The same module, in which data and addresses of a memory's write ports are 0 while nothing is written."""
    gates = _Gates(module)
    cells = {
        name: _masked(cell, gates) if cell["type"] == "$mem_v2" else cell for name, cell in module["cells"].items()
    }
    return {**module, "cells": cells | gates.cells}
