"""The accelerator's bus interfaces, read from its signature, and the attributes that say so in its Verilog."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from amaranth.hdl import Shape
from amaranth.lib.wiring import Flow

from moesaic.hw.control.fetch import OUTSTANDING as FETCH_OUTSTANDING
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.latency import WRITES_IN_FLIGHT
from moesaic.hw.top import accelerator_ports

__all__ = ["Interface", "Port", "interfaces_of", "port_attributes", "ports_of"]

_AXI = "xilinx.com:interface:aximm:1.0"
_CHANNEL = re.compile(r"(aw|ar|w|r|b)([a-z]+)")


@dataclass(frozen=True)
class Port:
    """A port of the top module.

    Parameters
    ----------
    name : str
    output : bool
    bits : int
    """

    name: str
    output: bool
    bits: int


@dataclass(frozen=True)
class Interface:
    """A bundle of ports that a block design connects as one.

    Parameters
    ----------
    name : str
        As in the block design: ``m_axi_w0``, ``aclk``.
    kind : str
        Vendor, library, name and version of the bus definition.
    master : bool
        Whether the accelerator drives it.
    ports : dict of str to Port
        By the name that the bus definition has for them.
    parameters : dict of str to str
        What the definition leaves open.
    """

    name: str
    kind: str
    master: bool
    ports: dict[str, Port]
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def is_axi(self) -> bool:
        """Whether it is AXI4 or AXI4-Lite."""
        return self.kind == _AXI

    @property
    def mode(self) -> str:
        """What an AXI bus does: ``READ_WRITE``, ``READ_ONLY`` or ``WRITE_ONLY``."""
        return self.parameters["READ_WRITE_MODE"]


def ports_of(config: AcceleratorConfig) -> list[Port]:
    """Ports of the accelerator's top module, by name."""
    return [
        Port(name, member.flow == Flow.Out, Shape.cast(member.shape).width)
        for name, member in sorted(accelerator_ports(config).items())
    ]


def _axi(config: AcceleratorConfig, name: str, ports: dict[str, Port]) -> Interface:
    reads, writes = "ARADDR" in ports, "AWADDR" in ports
    burst = "ARLEN" in ports or "AWLEN" in ports
    address = ports["ARADDR" if reads else "AWADDR"]
    data = ports["RDATA" if reads else "WDATA"]
    parameters = {
        "PROTOCOL": "AXI4" if burst else "AXI4LITE",
        "DATA_WIDTH": str(data.bits),
        "ADDR_WIDTH": str(address.bits),
        "READ_WRITE_MODE": "READ_WRITE" if reads and writes else "READ_ONLY" if reads else "WRITE_ONLY",
        "ID_WIDTH": "0",
        "HAS_BURST": str(int(burst)),
        "HAS_LOCK": "0",
        "HAS_PROT": "1",
        "HAS_CACHE": str(int("ARCACHE" in ports or "AWCACHE" in ports)),
        "HAS_QOS": "0",
        "HAS_REGION": "0",
        "HAS_WSTRB": str(int(writes)),
        "HAS_BRESP": str(int(writes)),
        "HAS_RRESP": str(int(reads)),
        "SUPPORTS_NARROW_BURST": "0",
    }
    if burst:
        control = name == "m_axi_c"
        parameters |= {
            "MAX_BURST_LENGTH": str(config.max_burst),
            "NUM_READ_OUTSTANDING": str(FETCH_OUTSTANDING if control else config.max_outstanding),
        }
        if writes:
            parameters["NUM_WRITE_OUTSTANDING"] = str(WRITES_IN_FLIGHT)
    return Interface(name, _AXI, address.output, ports, parameters)


def interfaces_of(config: AcceleratorConfig) -> list[Interface]:
    """Every port in exactly one interface: AXI buses by name, then clock, reset and interrupt.

    Raises
    ------
    ValueError
        If a port belongs to none: the rules here no longer cover the accelerator.
    """
    buses: dict[str, dict[str, Port]] = {}
    single: dict[str, Port] = {}
    for port in ports_of(config):
        prefix, _, suffix = port.name.rpartition("_")
        if prefix.startswith(("s_axi", "m_axi")) and _CHANNEL.fullmatch(suffix):
            buses.setdefault(prefix, {})[suffix.upper()] = port
        else:
            single[port.name] = port
    result = [_axi(config, name, ports) for name, ports in sorted(buses.items())]
    busif = ":".join(bus.name for bus in result)
    for name, kind, logical, parameters in (
        ("aclk", "clock", "CLK", {"ASSOCIATED_BUSIF": busif, "ASSOCIATED_RESET": "aresetn"}),
        ("aresetn", "reset", "RST", {"POLARITY": "ACTIVE_LOW"}),
        ("irq", "interrupt", "INTERRUPT", {"SENSITIVITY": "LEVEL_HIGH"}),
    ):
        port = single.pop(name)
        result.append(Interface(name, f"xilinx.com:signal:{kind}:1.0", port.output, {logical: port}, parameters))
    if single:
        raise ValueError(f"ports must each belong to an interface, not {', '.join(single)}")
    return result


def port_attributes(interfaces: Sequence[Interface]) -> dict[str, dict[str, str]]:
    """Vivado's interface attributes, by port of the top module: nothing is left to be guessed from names."""
    result: dict[str, dict[str, str]] = {}
    for interface in interfaces:
        text = ", ".join(
            ["XIL_INTERFACENAME " + interface.name, *(f"{k} {v}" for k, v in interface.parameters.items())]
        )
        parameter = {"X_INTERFACE_PARAMETER": text}  # at its first port
        for logical, port in interface.ports.items():
            result[port.name] = {"X_INTERFACE_INFO": f"{interface.kind} {interface.name} {logical}", **parameter}
            parameter = {}
    return result
