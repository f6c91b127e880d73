"""On-chip addresses: each buffer gets words that nobody else uses while it is alive."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from moesaic.compiler.ir import CompileError, Graph, Space, Tensor, live_ranges
from moesaic.compiler.verify import verify
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["allocate", "capacity", "peak_words", "place"]


def capacity(space: Space, config: AcceleratorConfig) -> int:
    """Words of a memory (softmax state: entries)."""
    return {
        Space.ACTIVATION: config.activation_words,
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


def _lowest_gap(tensor: Tensor, taken: Iterable[tuple[int, int]]) -> int:
    """Lowest address for `tensor` beside the (address, end) pairs `taken`."""
    address = tensor.lowest_address
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
    neighbours: dict[tuple[Space, int], list[Tensor]] = {}  # placed buffers by memory and stretch of the program
    # Buffers with a lowest address have the least freedom.
    for tensor in sorted(tensors.values(), key=lambda t: (t.lowest_address == 0, -t.size, lifetimes[t.name], t.name)):
        first, last = lifetimes[tensor.name]
        stretches = [(tensor.space, part) for part in range(first // _STRETCH, last // _STRETCH + 1)]
        taken = {
            (other.address, other.address + other.size)
            for stretch in stretches
            for other in neighbours.get(stretch, ())
            if other.address is not None and lifetimes[other.name][0] <= last and first <= lifetimes[other.name][1]
        }
        address = _lowest_gap(tensor, taken)
        short = address + tensor.size - capacity(tensor.space, config)
        if short > 0:
            size = f" ({short * config.lanes * _WORD_BYTES[tensor.space]} bytes)" if _WORD_BYTES[tensor.space] else ""
            raise CompileError(
                f"buffer '{tensor.name}' of {tensor.size} words does not fit: the {tensor.space.value} memory of "
                f"{capacity(tensor.space, config)} words ({_FIELD[tensor.space]}) is {short} words{size} short"
            )
        placed[tensor.name] = replace(tensor, address=address)
        for stretch in stretches:
            neighbours.setdefault(stretch, []).append(placed[tensor.name])
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
