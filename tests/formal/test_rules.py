# amaranth: UnusedElaboratable=no
"""Every bus rule can be violated, and only by the side that it is about: none is asleep."""

from collections.abc import Callable
from pathlib import Path

import pytest
from amaranth.hdl import Elaboratable, Fragment, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In
from prove import free_inputs, refute

from moesaic.hw.bus import axi_rules
from moesaic.hw.bus.axi import Axi4ReadSignature, Axi4WriteSignature, AxiLiteSignature
from moesaic.hw.bus.axi_rules import Axi4ReadRules, Axi4WriteRules, AxiLiteRules
from moesaic.hw.stream import rules
from moesaic.hw.stream.rules import Check

SIZES = {"addr_bits": 13, "data_bits": 32}


class Wires(wiring.Component):
    """A bus that both sides drive as they like."""

    def __init__(self, signature: wiring.Signature) -> None:
        shapes = {channel: member.signature.members["payload"].shape for channel, member in signature.members.items()}
        super().__init__(
            {
                f"{channel}_{name}": In(port)
                for channel, shape in shapes.items()
                for name, port in (("payload", shape), ("valid", 1), ("ready", 1))
            }
        )
        for channel, shape in shapes.items():
            interface = stream.Signature(shape).create()
            interface.payload = getattr(self, f"{channel}_payload")
            interface.valid, interface.ready = getattr(self, f"{channel}_valid"), getattr(self, f"{channel}_ready")
            setattr(self, channel, interface)

    def elaborate(self, platform: object) -> Module:
        return Module()


def watch(signature: wiring.Signature, kind: type, **sizes: int) -> Callable[..., tuple[Wires, Elaboratable]]:
    def make(**checks: Check) -> tuple[Wires, Elaboratable]:
        wires = Wires(signature)
        return wires, kind(wires, max_outstanding=2, **sizes, **checks)

    return make


RULES: dict[str, Callable[..., tuple[Wires, Elaboratable]]] = {
    "read": watch(Axi4ReadSignature(**SIZES), Axi4ReadRules, data_bits=32),
    "write": watch(Axi4WriteSignature(**SIZES), Axi4WriteRules, data_bits=32),
    "lite": watch(AxiLiteSignature(addr_bits=12), AxiLiteRules),
}


class Top(Elaboratable):
    def __init__(self, wires: Wires, watcher: Elaboratable) -> None:
        self.wires, self.watcher = wires, watcher

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.watcher = self.watcher
        return m


def messages(bus: str, monkeypatch: pytest.MonkeyPatch, **checks: Check) -> list[str]:
    """The rules that a bus has, from its elaboration."""
    found: list[str] = []
    original = rules.require

    def record(m: Module, check: Check, condition: object, message: str) -> None:
        if check is Check.ASSERT:
            found.append(message)
        original(m, check, condition, message)

    with monkeypatch.context() as patch:
        patch.setattr(rules, "require", record)
        patch.setattr(axi_rules, "require", record)
        Fragment.get(Top(*RULES[bus](**checks)), None).prepare()
    return found


COUNTS = {"read": (7, 4), "write": (11, 3), "lite": (6, 10)}


@pytest.mark.parametrize("bus", RULES)
@pytest.mark.parametrize("side", ["master", "slave"])
def test_every_rule_can_be_violated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bus: str, side: str) -> None:
    checks = {"master": Check.ASSUME, "slave": Check.ASSUME, side: Check.ASSERT}
    found = messages(bus, monkeypatch, **checks)
    assert len(found) == COUNTS[bus][side == "slave"]
    original = rules.require
    for wanted in sorted(set(found)):

        def only(m: Module, check: Check, condition: object, message: str, wanted: str = wanted) -> None:
            if check is not Check.ASSERT or message == wanted:
                original(m, check, condition, message)

        with monkeypatch.context() as patch:
            patch.setattr(rules, "require", only)
            patch.setattr(axi_rules, "require", only)
            wires, watcher = RULES[bus](**checks)
            free = free_inputs(wires)
            assert refute(Top(wires, watcher), free=free, work=tmp_path, depth=8), f"no run violates: {wanted}"
