"""RTLIL from Amaranth: the only place that uses what Amaranth does not document (docs/upstream.md)."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from amaranth.back.rtlil import convert
from amaranth.hdl import Const, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from moesaic.hw.shared import ExportPlatform

__all__ = ["component_rtlil", "uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection within: of millions of objects that all live until the end, it would look at each again and
    again, a third of the time.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _ports(component: wiring.Component) -> dict[str, tuple[Value, PortDirection]]:
    """What a component shows of itself; the constants of a stream that is always ready are no ports."""
    ports = {}
    for path, member, given in component.signature.flatten(component):
        value = Value.cast(given)
        if not isinstance(value, Const):
            direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
            ports["__".join(map(str, path))] = value, direction
    return ports


def component_rtlil(component: wiring.Component, *, name: str) -> str:
    """RTLIL of a component, and of the shared components it refers to.

    Parameters
    ----------
    component : Component
    name : str
        Of its module.
    """
    platform = ExportPlatform()
    with uncollected():
        texts = [convert(component, name=name, ports=_ports(component), platform=platform)]
        done: set[str] = set()
        while waiting := platform.components.keys() - done:
            for shared in sorted(waiting):
                texts.append(convert(platform.components[shared], name=shared, platform=platform))
                done.add(shared)
    return "\n".join(texts)
