"""Other names of a signal: the better one is taken for the signal, and names of fields for some of its bits."""

import re
from collections.abc import Callable, Mapping

from moesaic.hw.rtlil.design import Item, Module, Part, Words, rewrite, signals_of, split_sides

__all__ = ["alias", "name_fields", "prefer_source_names"]

_MEMORY_PORT = re.compile(r"__(addr|data|en)(\$\d+)?$")
_FIELD = re.compile(r"[.\[]")  # follows a signal's name in that of one of its fields


def alias(left: Words, right: Words) -> tuple[Part, Part] | None:
    """A whole signal that is nothing but another, or bits of it."""
    ours, theirs = signals_of(left), signals_of(right)
    if len(left) == 1 and len(ours) == 1 and len(theirs) == 1 and len(right) <= 2:
        return ours[0], theirs[0]
    return None


def _change_reads(item: Item, modules: Mapping[str, Module], change: Callable[[Part], Part]) -> None:
    ports = item.driven_ports(modules) if item.kind == "cell" else frozenset()
    for index, line in enumerate(item.body):
        if line[0] == "assign":
            left, right = split_sides(line[1:])
            item.body[index] = ["assign", *left, *rewrite(right, change)]
        elif line[0] == "switch":
            item.body[index] = ["switch", *rewrite(line[1:], change)]
        elif line[0] == "connect" and line[1] not in ports:
            item.body[index] = [*line[:2], *rewrite(line[2:], change)]


def name_fields(module: Module, modules: Mapping[str, Module]) -> None:
    """Read a field of a structure or array by its name, where Amaranth reads bits of the whole."""
    fields: dict[Part, str] = {}
    for left, right in module.connections:
        found = alias(left, right)
        if found is None or found[1].high is None:
            continue
        ours, theirs = found
        own = ours.name.startswith(theirs.name) and _FIELD.match(ours.name[len(theirs.name) :])
        if own and (theirs not in fields or len(ours.name) < len(fields[theirs])):
            fields[theirs] = ours.name
    if fields:
        for item in module.items:
            if item.kind in ("cell", "process"):
                _change_reads(item, modules, lambda part: Part(fields[part]) if part in fields else part)


class _Rank:
    """How good a name is, lower for better: of the module itself, not of what it places, nor of Amaranth's library."""

    def __init__(self, module: Module, modules: Mapping[str, Module]) -> None:
        self.names = {wire for wire in module.wires if _MEMORY_PORT.search(wire)}
        self.file = _file(module.attributes)
        self.lent = {  # the name of a port of a submodule, in a signal that leads to it
            line[2]
            for cell in module.of_kind("cell")
            if cell.type in modules
            for line in cell.body
            if line[0] == "connect" and line[2].partition("$")[0] == line[1].partition("$")[0]
        }

    def __call__(self, wire: Item) -> tuple[bool, ...]:
        file, start = _file(wire.attributes), _MEMORY_PORT.sub("", wire.name)
        # A memory's port has an address by that name, those of this project call it otherwise.
        memory = wire.name in self.names and any(f"{start}{end}" in self.names for end in ("__addr", "__en"))
        field = bool(_FIELD.search(wire.name))
        return "$" in wire.name, field, memory, wire.name in self.lent, file != self.file, file.startswith('"amaranth/')


def _file(attributes: Mapping[str, str]) -> str:
    return attributes.get("\\src", "").rpartition(":")[0]


def _renamed(module: Module, names: Mapping[str, str]) -> None:
    def change(part: Part) -> Part:
        return Part(names.get(part.name, part.name), part.high, part.low)

    for item in module.items:
        item.name = names.get(item.name, item.name)
        for index, line in enumerate(item.body):
            keep = {"connect": 2, "parameter": len(line), "attribute": len(line)}.get(line[0], 1)
            item.body[index] = [*line[:keep], *rewrite(line[keep:], change)]
    module.connections = [(rewrite(left, change), rewrite(right, change)) for left, right in module.connections]


def prefer_source_names(module: Module, modules: Mapping[str, Module], *, keep_ports: bool) -> dict[str, str]:
    """Let a signal and its better name change places; returns the ports that have another name now.

    Parameters
    ----------
    module : Module
        Changed.
    modules : mapping of str to Module
    keep_ports : bool
        Leave ports alone.
    """
    wires, rank = module.wires, _Rank(module, modules)
    names: dict[str, str] = {}
    taken: set[str] = set()
    for left, right in module.connections:
        found = alias(left, right)
        if found is None:
            continue
        ours, theirs = wires.get(found[0].name), wires.get(found[1].name)
        if ours is None or theirs is None or ours.direction or (keep_ports and theirs.direction):
            continue
        whole = found[1].high is None or (found[1].low == 0 and found[1].high == theirs.width - 1)
        better = rank(ours) < rank(theirs)
        if whole and better and ours.width == theirs.width and not {ours.name, theirs.name} & taken:
            names |= {ours.name: theirs.name, theirs.name: ours.name}
            taken |= {ours.name, theirs.name}
    if not names:
        return {}
    _renamed(module, names)
    swapped = module.wires
    sources = {name: wire.attributes.get("\\src") for name, wire in swapped.items()}
    for name in taken:
        source = sources[names[name]]
        swapped[name].attributes.pop("\\src", None)
        if source is not None:
            swapped[name].attributes["\\src"] = source
    return {name: new for name, new in names.items() if swapped[new].direction}
