"""A signal of its own for what a process drives, so that no register of the Verilog has two kinds of drivers."""

from collections.abc import Iterator, Mapping

from moesaic.hw.rtlil.design import Item, Module, Part, Words, rewrite, signals_of, split_sides
from moesaic.hw.rtlil.prune import drivers_and_readers

__all__ = ["separate_drivers"]


def _runs(bits: set[int]) -> Iterator[tuple[int, int]]:
    """Highest and lowest of each unbroken run."""
    for bit in sorted(bits):
        if bit - 1 not in bits:
            high = bit
            while high + 1 in bits:
                high += 1
            yield high, bit


def _bits(part: Part, wires: Mapping[str, Item]) -> set[int]:
    return set(range(wires[part.name].width) if part.high is None else range(part.low, part.high + 1))


def _separate(module: Module, process: Item, shared: set[str], wires: Mapping[str, Item]) -> list[Item]:
    driven: dict[str, set[int]] = {}
    for line in process.body:
        if line[0] == "assign":
            for part in signals_of(split_sides(line[1:])[0]):
                if part.name in shared:
                    driven.setdefault(part.name, set()).update(_bits(part, wires))
    parts: dict[tuple[str, int], tuple[str, int]] = {}  # signal and bit -> the new signal, and its lowest bit
    made = []
    for name, bits in driven.items():
        for high, low in _runs(bits):
            new = f"{name}${low}"
            made.append(Item(["wire", "width", str(high - low + 1)], new, {}))
            module.connections.append(([name, f"[{high}:{low}]"], [new]))
            parts |= {(name, bit): (new, low) for bit in range(low, high + 1)}

    def change(part: Part) -> Part:
        if part.name not in shared:
            return part
        bits = _bits(part, wires)
        new, low = parts[part.name, min(bits)]
        return Part(new, max(bits) - low, min(bits) - low)

    def line_of(words: Words) -> Words:
        if words[0] != "assign":
            return words
        left, right = split_sides(words[1:])
        return ["assign", *rewrite(left, change), *right]

    process.body = [line_of(line) for line in process.body]
    return made


def separate_drivers(module: Module, modules: Mapping[str, Module]) -> None:
    """Give each process a signal for the bits that it drives of one that others drive too.

    The Verilog of a signal with both kinds of drivers has an ``always @*`` for each; one of a constant never runs.
    """
    count: dict[str, int] = {}
    for item in module.items:
        if item.kind in ("cell", "process"):
            for name in drivers_and_readers(item, modules)[0]:
                count[name] = count.get(name, 0) + 1
    for left, _ in module.connections:
        for part in signals_of(left):
            count[part.name] = count.get(part.name, 0) + 1
    shared = {name for name, number in count.items() if number > 1}
    wires = module.wires
    new = [wire for item in module.of_kind("process") for wire in _separate(module, item, shared, wires)]
    module.items = [*new, *module.items]
