"""Netlists written by hand, as synthesis writes them."""

__all__ = ["Netlist"]


class Netlist:
    """A netlist under construction: nets are numbers, cells as the synthesis writes them."""

    def __init__(self) -> None:
        self.cells: dict = {}
        self.ports: dict = {}
        self.nets: dict = {}
        self._next = 2

    def net(self, name: str = "") -> int:
        self._next += 1
        if name:
            self.nets[name] = [self._next]
        return self._next

    def cell(self, kind: str, **pins) -> None:
        self.cells[f"c{len(self.cells)}"] = [
            kind,
            {},
            {port: bits if isinstance(bits, list) else [bits] for port, bits in pins.items()},
        ]

    def register(self, data, name: str = "", **pins) -> int:
        q = self.net(name)
        self.cell("FDRE", C=1, CE=pins.get("CE", "1"), R="0", D=data, Q=q)
        return q

    def lut(self, *inputs: int) -> int:
        o = self.net()
        self.cell(f"LUT{len(inputs)}", **{f"I{k}": net for k, net in enumerate(inputs)}, O=o)
        return o

    def raw(self) -> dict:
        return {"ports": self.ports, "cells": self.cells, "nets": self.nets}
