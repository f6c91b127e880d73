"""Proofs over several cycles: a mutant that differs only in states which the right hardware is never in, or only in
registers whose difference nothing sees a cycle later.

States that can be: those that some number of cycles lead to, from any state or from the first one. As long as mutant
and hardware have not differed, the mutant's are among them.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

from moesaic.flow.verify.graph import Graph, Mutated

__all__ = ["Cycles", "alike"]

Pair = tuple[int, int]
FEW = 3  # registers whose values are gone through


class _Kept(dict[int, int]):
    """Some nodes replaced, the others by themselves."""

    def __contains__(self, node: object) -> bool:
        return True

    def __missing__(self, node: int) -> int:
        return 2 * node


class Cycles:
    """An accelerator with its mutants, cycle by cycle.

    Parameters
    ----------
    flat : Mutated
    """

    def __init__(self, flat: Mutated) -> None:
        self.flat, self.graph, self.state = flat, flat.graph, flat.state()

    def _replaced(self, literals: Sequence[int], by: Mapping[int, int], known: dict[int, int]) -> list[int]:
        """Literals with other ones in place of free nodes; what `by` does not name is a new input. `known`: by node,
        what has been replaced before.
        """
        known[0] = 0
        for node in self.graph.cone(literals):
            if node not in known:
                a, b = self.graph.ands[node]
                if a | b:
                    known[node] = self.graph.both(known[a >> 1] ^ a & 1, known[b >> 1] ^ b & 1)
                else:
                    known[node] = by[node] if node in by else self.graph.free()
        return [known[literal >> 1] ^ literal & 1 for literal in literals]

    def _before(self, pairs: Sequence[Pair]) -> list[Pair]:
        """The same pairs by the state and inputs of one cycle before; none that is the same for certain."""
        by = {node: taken for node, (taken, _) in self.state.items()}
        literals = self._replaced([literal for pair in pairs for literal in pair], by, {})
        return _unequal(zip(literals[::2], literals[1::2], strict=True))

    def _first(self, pairs: Sequence[Pair]) -> list[Pair]:
        """The same in the first state."""
        by = {node: value for node, (_, value) in self.state.items() if value is not None}
        literals = self._replaced([literal for pair in pairs for literal in pair], by, {})
        return _unequal(zip(literals[::2], literals[1::2], strict=True))

    def past(self, pairs: Sequence[Pair], depth: int) -> Iterator[tuple[list[Pair], list[Pair]]]:
        """For each number of cycles: pairs that must be the same for all states so many cycles before; and those of a
        run that has just begun, all of which must be the same too.
        """
        now, begun = list(pairs), []
        for _ in range(depth):
            begun += self._first(now)
            now = self._before(now)
            yield now, list(dict.fromkeys(begun))

    def later(self, mutant: int) -> list[Pair] | None:
        """What must be the same a cycle later, by the state and inputs before it, if the mutant changes only what some
        registers take. None if it is not so.

        Where that depends on those registers themselves, they may hold anything behind a state and inputs from which
        they can differ at all, whatever they hold; then it must be so again, or they must take the same.
        """
        differing = self.flat.differing(mutant)
        wrong: dict[int, int] = {}
        for bit, (_, literal) in differing.items():
            takers = self.flat.takers(bit)
            if takers is None:
                return None
            wrong |= dict.fromkeys(takers, literal)
        asked = [bit for bit in self.flat.sinks if bit not in differing]
        depends = self._dependent(wrong)
        literals = [literal for literal in self.flat.literals(asked) if depends[literal >> 1]]
        pairs = [(literal, literal) for literal in literals]
        by = {node: taken for node, (taken, _) in self.state.items()}
        if wrong.keys() & set(self.graph.cone(list(wrong.values()))):
            if len(wrong) > FEW:
                return None
            for node, literal in wrong.items():
                may = self._may_differ(by[node], literal, list(wrong))
                pairs.append((self.graph.both(by[node], may ^ 1), self.graph.both(literal, may ^ 1)))
                wrong[node] = self._choice(may, self.graph.free(), by[node])
        inputs: dict[int, int] = {}
        right = self._replaced([literal for literal, _ in pairs], by, inputs)
        free = {node: inputs[node] for node in inputs if self.graph.ands[node] == (0, 0) and node not in by and node}
        return _unequal(zip(right, self._replaced([x for _, x in pairs], {**by, **free, **wrong}, {}), strict=True))

    def _choice(self, which: int, one: int, other: int) -> int:
        both = self.graph.both
        return both(both(which, one) ^ 1, both(which ^ 1, other) ^ 1) ^ 1

    def _may_differ(self, a: int, b: int, nodes: Sequence[int]) -> int:
        """Whether two literals differ for any values of some nodes."""
        found = 0
        for case in range(1 << len(nodes)):
            values = {node: case >> place & 1 for place, node in enumerate(nodes)}
            x, y = self._replaced([a, b], _Kept(values), {})
            found = self.graph.both(found ^ 1, self._choice(x, y, y ^ 1)) ^ 1
        return found

    def _dependent(self, nodes: Iterable[int]) -> bytearray:
        """Of every node, whether it depends on any of these."""
        found = bytearray(len(self.graph.ands))
        for node in nodes:
            found[node] = 1
        for node, (a, b) in enumerate(self.graph.ands):
            if found[a >> 1] | found[b >> 1]:
                found[node] = 1
        return found


def alike(pairs: Sequence[Pair], graph: Graph, patterns: int, rng: random.Random) -> bool:
    """Whether no random pattern tells the two of any pair apart."""
    values, full = {0: 0}, (1 << patterns) - 1
    for node in graph.cone([literal for pair in pairs for literal in pair]):
        a, b = graph.ands[node]
        if a | b:
            x, y = (values[p >> 1] ^ (full if p & 1 else 0) for p in (a, b))
            values[node] = x & y
        else:
            values[node] = rng.getrandbits(patterns)
    return all(values[a >> 1] ^ (full if (a ^ b) & 1 else 0) == values[b >> 1] for a, b in pairs)


def _unequal(pairs: Iterable[Pair]) -> list[Pair]:
    return list(dict.fromkeys((a, b) for a, b in pairs if a != b))
