"""An accelerator with its mutants as a graph of ANDs and inverters, between registers and memories.

A literal is twice a node's number, plus 1 if inverted; node 0 is constant, so literals 0 and 1 are false and true.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["Graph", "Mutated"]

FALSE, TRUE = 0, 1
# Their inputs.
GATES = {
    "$_BUF_": ("A",),
    "$_NOT_": ("A",),
    "$_AND_": ("A", "B"),
    "$_NAND_": ("A", "B"),
    "$_OR_": ("A", "B"),
    "$_NOR_": ("A", "B"),
    "$_XOR_": ("A", "B"),
    "$_XNOR_": ("A", "B"),
    "$_ANDNOT_": ("A", "B"),
    "$_ORNOT_": ("A", "B"),
    "$_MUX_": ("A", "B", "S"),
}


class Graph:
    """ANDs, each pair of literals once, and free inputs."""

    def __init__(self) -> None:
        self.ands: list[tuple[int, int]] = [(0, 0)]  # by node; (0, 0) for what is no AND
        self._found: dict[tuple[int, int], int] = {}

    def free(self) -> int:
        """A new input."""
        self.ands.append((0, 0))
        return 2 * (len(self.ands) - 1)

    def both(self, a: int, b: int) -> int:
        """The literal of a AND b, simplified over one level and, for what contains one another, two."""
        if a > b:
            a, b = b, a
        if a == FALSE or a == b ^ 1:
            return FALSE
        if a in (TRUE, b):
            return b
        for this, other in ((a, b), (b, a)):
            inner = self.ands[this >> 1]
            if inner != (0, 0):
                if not this & 1:  # an AND with what is in it, or with the opposite
                    if other in inner:
                        return this
                    if other ^ 1 in inner:
                        return FALSE
                elif other ^ 1 in inner:  # not (x and y), and not x
                    return other
                elif other in inner:  # not (x and y), and x: x and not y
                    rest = inner[0] if inner[1] == other else inner[1]
                    return self.both(other, rest ^ 1)
        found = self._found.get((a, b))
        if found is None:
            self.ands.append((a, b))
            found = self._found[(a, b)] = 2 * (len(self.ands) - 1)
        return found

    def cone(self, literals: Sequence[int]) -> list[int]:
        """Nodes that these depend on, in order."""
        seen, open_nodes = set(), [literal >> 1 for literal in literals]
        while open_nodes:
            node = open_nodes.pop()
            if node not in seen:
                seen.add(node)
                open_nodes += [part >> 1 for part in self.ands[node] if node]
        return sorted(seen - {0})


class Mutated:
    """A flat design in Yosys's JSON, mapped to gates. All that are not in `GATES`, registers and memories, are cut out:
    what they give is free, what they take must be the same.

    Parameters
    ----------
    module : mapping
        Of the JSON.
    control : str
        The input that says which mutant it is.
    count : int
        Mutants.
    constants : mapping of bit to 0 or 1
        Of registers that are known never to change.
    """

    def __init__(
        self, module: Mapping[str, Any], *, control: str, count: int, constants: Mapping[int, int] = {}
    ) -> None:
        self.graph = Graph()
        self.registers: list[tuple[int, int, int]] = []  # what each holds and takes, and its first value
        self.sinks: list[int] = []  # bits that must be the same
        self._next: dict[int, int] = {}  # of every register, what it holds to what it takes
        self._columns: dict[int, list[int]] = {}  # of a bit that a memory gives, what is written there, and whether
        self._drivers: dict[int, tuple[int, ...]] = {}  # bit to those that its gate takes
        self._kinds: dict[int, str] = {}  # bit to its gate
        self.count = count
        self._read(module, control)
        self._literals |= constants
        self._order = self._sorted()
        self._evaluate()
        self._add_registers(constants)
        self._fan_outs()

    def _read(self, module: Mapping[str, Any], control: str) -> None:
        everything = (2 << self.count) - 1
        self._all = everything
        self._masks: dict[Any, int] = {
            "0": 0,
            "1": everything,
        }  # by bit; what depends on the control only, of every mutant
        self._literals: dict[Any, int] = {"0": FALSE, "1": TRUE}  # by bit, without a mutant
        for name, port in module["ports"].items():
            if name == control:
                for place, bit in enumerate(port["bits"]):
                    self._masks[bit] = sum(1 << k for k in range(self.count + 1) if k >> place & 1)
                    self._literals[bit] = FALSE
            elif port["direction"] == "output":
                self.sinks += [bit for bit in port["bits"] if isinstance(bit, int)]
        first = {
            bit: int(value)
            for net in module["netnames"].values()
            for bit, value in zip(net["bits"], net["attributes"].get("init", "")[::-1], strict=False)
            if value in "01"
        }
        for cell in module["cells"].values():
            pins, kind = cell["connections"], cell["type"]
            if kind in GATES:
                self._drivers[pins["Y"][0]] = tuple(pins[pin][0] for pin in GATES[kind])
                self._kinds[pins["Y"][0]] = kind
            else:
                if kind == "$_DFF_P_":
                    self._next[pins["Q"][0]] = pins["D"][0]
                    if pins["Q"][0] in first:
                        self.registers.append((pins["Q"][0], pins["D"][0], first[pins["Q"][0]]))
                taken: Sequence[str] = ("D",) if kind == "$_DFF_P_" else ()
                if kind == "$mem_v2":
                    taken = ("WR_DATA", "WR_EN")
                    self._read_columns(pins, int(cell["parameters"]["WIDTH"], 2), taken)
                # a clock that a mutant changes is an input as any other
                for pin, direction in cell["port_directions"].items():
                    if direction == "input" and pin not in taken:
                        self.sinks += [bit for bit in pins[pin] if isinstance(bit, int)]

    def _read_columns(self, pins: Mapping[str, Any], width: int, taken: Sequence[str]) -> None:
        """A column of a memory counts only if it is read, and that counts."""
        for place, bit in enumerate(pins["RD_DATA"]):
            self._columns[bit] = [b for pin in taken for b in pins[pin][place % width :: width] if isinstance(b, int)]

    def _sorted(self) -> list[int]:
        """Driven bits, each behind those it depends on."""
        order: list[int] = []
        state: dict[int, int] = {}
        for root in self._drivers:
            stack = [root]
            while stack:
                bit = stack[-1]
                if state.get(bit) == 2 or bit not in self._drivers:
                    stack.pop()
                elif state.get(bit) == 1:
                    state[bit] = 2
                    order.append(bit)
                    stack.pop()
                else:
                    state[bit] = 1
                    stack += [b for b in self._drivers[bit] if b in self._drivers and b not in state]
        return order

    def _literal(self, bit: int) -> int:
        found = self._literals.get(bit)
        if found is None:
            found = self._literals[bit] = self.graph.free()
        return found

    def _gate(self, bit: int, parts: Sequence[int]) -> int:
        """The literal that a bit's gate makes of literals."""
        kind, both = self._kinds[bit], self.graph.both
        a = parts[0]
        if len(parts) == 1:
            return a ^ (kind == "$_NOT_")
        b = parts[1]
        if kind == "$_MUX_":
            return both(both(a, parts[2] ^ 1) ^ 1, both(b, parts[2]) ^ 1) ^ 1
        if kind in ("$_XOR_", "$_XNOR_"):
            return both(both(a, b) ^ 1, both(a ^ 1, b ^ 1) ^ 1) ^ (kind == "$_XNOR_")
        if kind in ("$_AND_", "$_NAND_"):
            return both(a, b) ^ (kind == "$_NAND_")
        if kind == "$_ANDNOT_":
            return both(a, b ^ 1)
        if kind == "$_ORNOT_":
            return both(a ^ 1, b) ^ 1
        return both(a ^ 1, b ^ 1) ^ (kind == "$_OR_")

    def _mask(self, bit: int) -> int | None:
        """Its value for every mutant, if that does not depend on anything else."""
        masks = [self._masks[part] for part in self._drivers[bit] if part in self._masks]
        kind = self._kinds[bit]
        if len(masks) < len(self._drivers[bit]):
            return None
        a, *rest = masks
        if not rest:
            return a ^ self._all if kind == "$_NOT_" else a
        inverted = self._all if kind in ("$_NAND_", "$_NOR_", "$_XNOR_") else 0
        if kind == "$_MUX_":
            return a & ~rest[1] | rest[0] & rest[1]
        if kind in ("$_XOR_", "$_XNOR_"):
            return a ^ rest[0] ^ inverted
        if kind in ("$_AND_", "$_NAND_"):
            return a & rest[0] ^ inverted
        if kind == "$_ANDNOT_":
            return a & ~rest[0]
        return (a | (rest[0] ^ self._all if kind == "$_ORNOT_" else rest[0])) ^ inverted

    def _evaluate(self) -> None:
        for bit in self._order:
            mask = self._mask(bit)
            if mask is not None:
                self._masks[bit] = mask
            self._literals[bit] = self._gate(bit, [self._literal(part) for part in self._drivers[bit]])

    def _add_registers(self, constants: Mapping[int, int]) -> None:
        """What registers take must be the same too, if it comes to an output, a memory or a multiplier, be it by other
        registers. So must what those take that count as constant: they may not change either. A memory's columns count
        as registers do.
        """
        of_node: dict[int, list[int]] = {}  # by what a register holds, or a memory gives
        for held, taken in self._next.items():
            of_node.setdefault(self._literal(held) >> 1, []).append(taken)
        for given, columns in self._columns.items():
            of_node.setdefault(self._literal(given) >> 1, []).extend(columns)
        found = dict.fromkeys([*self.sinks, *(self._next[held] for held in constants)])
        memories = [bit for columns in self._columns.values() for bit in columns]
        self._hard = frozenset([*found, *memories])
        waiting, seen = [self._literal(bit) >> 1 for bit in found], {0}
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                taken_there = of_node.get(node, ())
                found |= dict.fromkeys(taken_there)
                waiting += [part >> 1 for part in self.graph.ands[node]]
                waiting += [self._literal(bit) >> 1 for bit in taken_there]
        self.sinks = [bit for bit in found if isinstance(bit, int)]

    def state(self) -> dict[int, tuple[int, int | None]]:
        """By node of what each register holds: the literal that it takes, and its first value if it has one."""
        first = {held: value for held, _, value in self.registers}
        return {
            self._literal(held) >> 1: (self._literal(taken), first.get(held)) for held, taken in self._next.items()
        } | {0: (FALSE, 0)}

    def literals(self, bits: Sequence[int]) -> list[int]:
        """Of bits, without a mutant."""
        return [self._literal(bit) for bit in bits]

    def takers(self, bit: int) -> list[int] | None:
        """Nodes of the registers that take a bit, None if anything else takes it too."""
        return None if bit in self._hard else [self._literal(q) >> 1 for q, d in self._next.items() if d == bit]

    def _fan_outs(self) -> None:
        self._fan_out: dict[int, list[int]] = {}
        self._position = {bit: place for place, bit in enumerate(self._order)}
        self._roots: dict[int, list[int]] = {}
        for bit in self._order:
            if bit in self._masks:
                continue
            for part in self._drivers[bit]:
                self._fan_out.setdefault(part, []).append(bit)
                mask = self._masks.get(part)
                if mask is not None:
                    base = self._all if mask & 1 else 0
                    for k in _bits(mask ^ base):
                        self._roots.setdefault(k, []).append(bit)

    def constants(self) -> dict[int, int]:
        """Registers that keep their first value whatever the inputs and memories are, by bit.

        Every register starts as its first value only; what it may become is added until nothing is.
        """
        held = [(q, self._literal(q) >> 1, self._literal(d), value) for q, d, value in self.registers]
        ands = self.graph.ands
        may = [bytearray(b"\1") * len(ands), bytearray(b"\1") * len(ands)]  # be 0, be 1; of every node
        may[1][0] = 0
        for _, node, _, value in held:
            may[1 - value][node] = 0
        zero, one = may
        changed = True
        while changed:
            changed = False
            for node, (a, b) in enumerate(ands):
                if a | b:
                    x, y = a >> 1, b >> 1
                    a0, a1 = (one[x], zero[x]) if a & 1 else (zero[x], one[x])
                    b0, b1 = (one[y], zero[y]) if b & 1 else (zero[y], one[y])
                    zero[node], one[node] = a0 | b0, a1 & b1
            for _, node, d, _ in held:
                d0, d1 = (one[d >> 1], zero[d >> 1]) if d & 1 else (zero[d >> 1], one[d >> 1])
                if d0 > zero[node] or d1 > one[node]:
                    zero[node] |= d0
                    one[node] |= d1
                    changed = True
        return {q: one[node] for q, node, _, _ in held if zero[node] != one[node]}

    def differences(self, mutant: int) -> list[tuple[int, int]]:
        """Literals, without the mutant and with it, of all sinks that are not structurally the same."""
        return list(dict.fromkeys(self.differing(mutant).values()))

    def differing(self, mutant: int) -> dict[int, tuple[int, int]]:
        """The same by bit."""
        changed: dict[int, int] = {}
        waiting = [self._position[bit] for bit in self._roots.get(mutant, ())]
        heapq.heapify(waiting)
        done = -1

        def now(bit: int) -> int:
            mask = self._masks.get(bit)
            if mask is not None:
                return mask >> mutant & 1
            return changed.get(bit, self._literals.get(bit, -1))

        while waiting:
            place = heapq.heappop(waiting)
            if place == done:
                continue
            done, bit = place, self._order[place]
            value = self._gate(bit, [now(part) for part in self._drivers[bit]])
            if value != self._literals[bit]:
                changed[bit] = value
                for follower in self._fan_out.get(bit, ()):
                    heapq.heappush(waiting, self._position[follower])
        result: dict[int, tuple[int, int]] = {}
        for bit in self.sinks:
            mask = self._masks.get(bit)
            if mask is not None:
                if (mask ^ -(mask & 1)) >> mutant & 1:
                    result[bit] = mask & 1, mask >> mutant & 1
            elif bit in changed:
                result[bit] = self._literals[bit], changed[bit]
        return result


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
