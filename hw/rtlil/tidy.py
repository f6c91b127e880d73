"""From RTLIL as Amaranth writes it to RTLIL whose Verilog is fit to be read."""

from collections.abc import Mapping
from dataclasses import dataclass

from moesaic.hw.rtlil.aliases import name_fields, prefer_source_names
from moesaic.hw.rtlil.choices import shorten_choices
from moesaic.hw.rtlil.design import Module, parse, signals_of
from moesaic.hw.rtlil.drivers import separate_drivers
from moesaic.hw.rtlil.names import REGISTERS, module_names
from moesaic.hw.rtlil.prune import prune
from moesaic.hw.rtlil.share import share
from moesaic.hw.rtlil.source import relative_sources, remove_sources

__all__ = ["Tidied", "tidy"]


@dataclass(frozen=True)
class Tidied:
    """RTLIL of a design.

    Parameters
    ----------
    text : str
    processes : dict of str to tuple of (str or None)
        By module, the top first, then by alphabet: where each process comes from, in the order in which Yosys writes
        them.
    """

    text: str
    processes: Mapping[str, tuple[str | None, ...]]


def _origins(module: Module) -> tuple[str | None, ...]:
    found = sorted(module.of_kind("process"), key=lambda process: process.name)
    return tuple(process.attributes.get("\\src", "").strip('"') or None for process in found)


def _initial_values_of_registers(module: Module) -> None:
    """Forget those of other signals, which Amaranth writes for every name of a register."""
    held = {
        part.name for cell in module.of_kind("cell") if cell.type in REGISTERS for part in signals_of(cell.port("\\Q"))
    }
    for name, wire in module.wires.items():
        if name not in held:
            wire.attributes.pop("\\init", None)


def _name_as_in_the_source(modules: Mapping[str, Module], top: str) -> None:
    ports = {
        name: changed
        for name, module in modules.items()
        if (changed := prefer_source_names(module, modules, keep_ports=name == top))
    }
    for module in modules.values():
        for cell in module.of_kind("cell"):
            for line in cell.body if cell.type in ports else []:
                if line[0] == "connect":
                    line[1] = ports[cell.type].get(line[1], line[1])
        name_fields(module, modules)


def tidy(
    text: str,
    *,
    top: str,
    prefix: str,
    checks: bool,
    sources: bool = True,
    port_attributes: Mapping[str, Mapping[str, str]] | None = None,
) -> Tidied:
    """Remove, share and name.

    Parameters
    ----------
    text : str
        RTLIL of all modules.
    top : str
        Name of the top module: it and its ports keep their names.
    prefix : str
        First part of the name of every other module.
    checks : bool
        Keep assertions, assumptions and prints.
    sources : bool
        Say where modules, signals and processes come from.
    port_attributes : dict of port to dict of str to str, optional
        For ports of the top.

    Raises
    ------
    ValueError
        If the text is not what Amaranth writes, or an attribute is for a port that is not there.
    """
    root = f"\\{top}"
    modules = parse(text)
    for module in modules.values():
        relative_sources(module)
        shorten_choices(module)
    _name_as_in_the_source(modules, root)
    modules = prune(modules, top=root, checks=checks)
    for module in modules.values():
        separate_drivers(module, modules)
        _initial_values_of_registers(module)
    modules = share(modules, top=root)
    names = module_names(modules, top=root, prefix=prefix)
    for module in modules.values():
        module.name = names[module.name]
        module.attributes = {key: value for key, value in module.attributes.items() if key == "\\src"}
        if not sources:
            remove_sources(module)
        for cell in module.of_kind("cell"):
            cell.head[1] = names.get(cell.type, cell.type)
    wires = modules[root].wires
    for port, attributes in (port_attributes or {}).items():
        wire = wires.get(f"\\{port}")
        if wire is None or not wire.direction:
            raise ValueError(f"port {port!r} must be one of module {top}")
        # Yosys writes the last first.
        wire.attributes |= {f"\\{name}": f'"{value}"' for name, value in attributes.items()}
    ordered = sorted(modules.values(), key=lambda module: (module.name != root, module.name))
    return Tidied(
        "".join(module.text() for module in ordered), {module.name[1:]: _origins(module) for module in ordered}
    )
