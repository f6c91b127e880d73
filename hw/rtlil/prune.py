"""Removes what nothing needs: checks, on request; logic without a reader; memory contents that are all zero."""

from collections.abc import Mapping

from moesaic.hw.rtlil.design import Item, Module, Words, signals_of, split_sides

__all__ = ["prune"]

_CHECKS = ("$check", "$print")


def _assignments(process: Item) -> list[tuple[Words, Words]]:
    return [split_sides(line[1:]) for line in process.body if line[0] == "assign"]


def drivers_and_readers(item: Item, modules: Mapping[str, Module]) -> tuple[set[str], set[str]]:
    """Names of the signals that an item drives, and of those that it reads; a memory counts as one."""
    driven: set[str] = set()
    read: set[str] = set()
    if item.kind == "process":
        for left, right in _assignments(item):
            driven |= {part.name for part in signals_of(left)}
            read |= {part.name for part in signals_of(right)}
        for line in item.body:
            if line[0] == "switch":
                read |= {part.name for part in signals_of(line[1:])}
        return driven, read
    ports = item.driven_ports(modules)
    for line in item.body:
        if line[0] == "connect":
            (driven if line[1] in ports else read).update(part.name for part in signals_of(line[2:]))
    memory = memory_of(item)
    if memory is not None:
        (read if item.type == "$memrd_v2" else driven).add(memory)
    return driven, read


def memory_of(cell: Item) -> str | None:
    """The memory that a port or its initial contents belong to."""
    value = cell.parameter("\\MEMID") if cell.type.startswith("$mem") else None
    return None if value is None else value[1:-1].replace("\\\\", "\\")


def _is_zero_init(item: Item) -> bool:
    # Registers and memories start at zero anyway. A line a word is megabytes for the large memories.
    return (
        item.kind == "cell"
        and item.type == "$meminit_v2"
        and all("1" not in word.partition("'")[2] for word in item.port("\\DATA"))
        and not signals_of(item.port("\\DATA"))
    )


def _kept(modules: Mapping[str, Module]) -> set[str]:
    """Modules that do something even if no output is read: they check, print, place what is not known, or such ones."""
    kept: set[str] = set()

    def visit(name: str) -> bool:
        cells = modules[name].of_kind("cell")
        result = any(
            cell.type in _CHECKS
            or "\\keep" in cell.attributes
            or (not cell.type.startswith("$") and (cell.type not in modules or cell.type in kept or visit(cell.type)))
            for cell in cells
        )
        if result:
            kept.add(name)
        return result

    for name in modules:
        visit(name)
    return kept


def _own_name(wire: Item, module: Module) -> bool:
    """Whether a name is of the module's own file, and not of a field."""
    files = {attributes.get("\\src", "").rpartition(":")[0] for attributes in (wire.attributes, module.attributes)}
    return len(files) == 1 and not any(character in wire.name for character in "$.[")


def _prune_module(module: Module, modules: Mapping[str, Module], kept: set[str]) -> None:
    wires = module.wires
    needed = {name for name, wire in wires.items() if wire.direction or "\\keep" in wire.attributes}
    work = [item for item in module.items if item.kind in ("cell", "process")]
    uses = [(item, *drivers_and_readers(item, modules)) for item in work]
    live: set[int] = set()
    joins = [
        ({part.name for part in signals_of(left)}, {part.name for part in signals_of(right)})
        for left, right in module.connections
    ]
    joined: set[int] = set()
    for index, (item, _, read) in enumerate(uses):
        if item.kind == "cell" and (
            item.type in _CHECKS or item.type in kept or (not item.type.startswith("$") and item.type not in modules)
        ):
            live.add(index)
            needed |= read
    changed = True
    while changed:
        changed = False
        for index, (_, driven, read) in enumerate(uses):
            if index not in live and driven & needed:
                live.add(index)
                needed |= read
                changed = True
        for index, (left, right) in enumerate(joins):
            if index not in joined and left & needed:
                joined.add(index)
                needed |= right
                changed = True
    for index in live:
        needed |= uses[index][1]
    for index, (left, right) in enumerate(joins):  # another name that the source has for something needed
        if right and right <= needed and len(left) == 1 and _own_name(wires[next(iter(left))], module):
            joined.add(index)
            needed |= left
    gone = {id(item) for index, (item, _, _) in enumerate(uses) if index not in live}
    module.connections = [pair for index, pair in enumerate(module.connections) if index in joined]
    module.items = [
        item
        for item in module.items
        if id(item) not in gone and (item.kind not in ("wire", "memory") or item.name in needed)
    ]


def prune(modules: dict[str, Module], *, top: str, checks: bool) -> dict[str, Module]:
    """The modules that `top` needs, each without what nothing reads.

    Parameters
    ----------
    modules : dict of str to Module
        Changed.
    top : str
    checks : bool
        Keep assertions, assumptions and prints.
    """
    for module in modules.values():
        module.items = [
            item
            for item in module.items
            if not _is_zero_init(item) and (checks or item.kind != "cell" or item.type not in _CHECKS)
        ]
    kept = _kept(modules)
    reached: dict[str, Module] = {}

    def visit(name: str) -> None:
        if name not in reached:
            module = reached[name] = modules[name]
            _prune_module(module, modules, kept)
            for cell in module.of_kind("cell"):
                if cell.type in modules:
                    visit(cell.type)

    visit(top)
    return {name: module for name, module in modules.items() if name in reached}
