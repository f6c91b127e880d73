"""On-chip addresses: each buffer gets words that nobody else uses while it is alive."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from moesaic.compiler.ir import CompileError, Graph, Space, Tensor, live_ranges
from moesaic.compiler.verify import verify
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["allocate", "capacity", "peak_words", "place"]


def capacity(space: Space, config: AcceleratorConfig) -> int:
    """Words of a memory (softmax state: entries)."""
    return {
        Space.ACTIVATION: config.streamed_words,
        Space.KV: config.kv_words,
        Space.RESIDUAL: config.residual_words,
        Space.STATE: 2 * config.max_tokens,
    }[space]


_FIELD = {
    Space.ACTIVATION: "activation_words",
    Space.KV: "kv_words",
    Space.RESIDUAL: "residual_words",
    Space.STATE: "2 * max_tokens",
}
_WORD_BYTES = {Space.ACTIVATION: 1, Space.KV: 1, Space.RESIDUAL: 2, Space.STATE: 0}  # bytes per lane


_STRETCH = 128  # operations: about as long as a buffer of a stage lives


@dataclass(frozen=True)
class _Room:
    """Where a buffer may lie: words `origin` to `end` of a memory; the buffer's addresses count from `origin`."""

    memory: Space
    origin: int
    end: int

    @classmethod
    def of(cls, tensor: Tensor, config: AcceleratorConfig) -> "_Room":
        """For a buffer; keys and values lie behind the activations where the memories are joint."""
        space, joint, behind = tensor.space, config.joint_memories, config.activation_words
        if joint and space is Space.KV:
            return cls(Space.ACTIVATION, behind, config.streamed_words)
        if space is Space.ACTIVATION and not tensor.spills:
            return cls(space, 0, behind)
        return cls(space, 0, capacity(space, config))


def _lowest_gap(tensor: Tensor, origin: int, taken: Iterable[tuple[int, int]]) -> int:
    """Lowest word for `tensor`, from `origin` on, beside the (word, end) pairs `taken`."""
    address = origin + tensor.lowest_address
    for low, high in sorted(taken):
        if address + tensor.size <= low:
            break
        address = max(address, high)
    return address


def place(
    tensors: Mapping[str, Tensor], lifetimes: Mapping[str, tuple[int, int]], config: AcceleratorConfig
) -> dict[str, Tensor]:
    """Give every buffer an address, first fit, largest first; two buffers share words only if their lifetimes are
    disjoint.

    Raises
    ------
    CompileError
        If a buffer does not fit; the message names it, the memory and by how much the memory is short.
    """
    placed: dict[str, Tensor] = {}
    # Placed buffers and their first words, by memory and stretch of the program.
    neighbours: dict[tuple[Space, int], list[tuple[Tensor, int]]] = {}
    # Buffers with a lowest address have the least freedom, those that may spill into another memory the most.
    joint = config.joint_memories
    for tensor in sorted(
        tensors.values(),
        key=lambda t: (t.lowest_address == 0, joint and t.spills, -t.size, lifetimes[t.name], t.name),
    ):
        first, last = lifetimes[tensor.name]
        room = _Room.of(tensor, config)
        stretches = [(room.memory, part) for part in range(first // _STRETCH, last // _STRETCH + 1)]
        taken = {
            (low, low + other.size)
            for stretch in stretches
            for other, low in neighbours.get(stretch, ())
            if lifetimes[other.name][0] <= last and first <= lifetimes[other.name][1]
        }
        word = _lowest_gap(tensor, room.origin, taken)
        short = word + tensor.size - room.end
        if short > 0:
            size = f" ({short * config.lanes * _WORD_BYTES[tensor.space]} bytes)" if _WORD_BYTES[tensor.space] else ""
            raise CompileError(
                f"buffer '{tensor.name}' of {tensor.size} words does not fit: the {tensor.space.value} memory of "
                f"{room.end - room.origin} words ({_FIELD[tensor.space]}) is {short} words{size} short"
            )
        placed[tensor.name] = replace(tensor, address=word - room.origin)
        for stretch in stretches:
            neighbours.setdefault(stretch, []).append((tensor, word))
    return placed


def allocate(graph: Graph, config: AcceleratorConfig) -> Graph:
    """The graph with an address for every buffer (see :func:`place`)."""
    placed = place(graph.tensors, live_ranges(graph), config)
    return verify(replace(graph, tensors={name: placed[name] for name in graph.tensors}))


def peak_words(graph: Graph) -> dict[Space, int]:
    """Highest word used in each memory, plus one."""
    result = dict.fromkeys(Space, 0)
    for tensor in graph.tensors.values():
        if tensor.address is not None:
            result[tensor.space] = max(result[tensor.space], tensor.address + tensor.size)
    return result
