"""Every stage of the compiler as text."""

from moesaic.compiler.alloc import capacity, peak_words
from moesaic.compiler.cost import estimate, mean_tokens
from moesaic.compiler.ir import Graph, Op, Ref, live_ranges
from moesaic.compiler.pipeline import Compilation
from moesaic.compiler.weights import Piece
from moesaic.hw.spec import isa
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Opcode
from moesaic.hw.spec.latency import Timing

__all__ = ["dump", "dump_buffers", "dump_graph", "dump_memory", "dump_program", "dump_schedule"]


def _operand(ref: Ref | None) -> str:
    if ref is None:
        return "-"
    return ref.tensor if not ref.word else f"{ref.tensor}+{ref.word}"


def _operation(op: Op) -> str:
    return f"{op.opcode.name}.{op.function.name}" if op.opcode is Opcode.MATMUL else op.opcode.name


def dump_graph(graph: Graph) -> str:
    """One line per operation: what it does with which buffers."""
    lines = [f"graph of task '{graph.task}': {len(graph.ops)} operations, {len(graph.tensors)} buffers"]
    for op in graph.ops:
        tokens = f"{op.token}..{op.token + op.tokens - 1}" if op.tokens else ""
        stationary = _operand(op.kv) if op.kv is not None else op.weights or "-"
        taps = f" tap {_operand(op.tap)}" if op.tap is not None else ""
        lines.append(
            f"  {op.name:<40} {_operation(op):<15} tokens {tokens:<10} "
            f"{_operand(op.source)} x {stationary} -> {_operand(op.target)}{taps}"
        )
    return "\n".join(lines)


def dump_schedule(graph: Graph, pieces: dict[str, Piece], config: AcceleratorConfig, *, timing: Timing) -> str:
    """One line per operation: position, waits and estimated time, if all experts get as many tokens."""
    costs = estimate(graph, pieces, config, mean_tokens, timing=timing)
    lines = [
        f"schedule of task '{graph.task}': about {costs[-1].end:.0f} cycles",
        "  index  feed  load       start       array     starved     blocked       bytes  operation",
    ]
    for index, (op, cost) in enumerate(zip(graph.ops, costs, strict=False)):
        flags = (" mark" if op.mark else "") + (" speculative" if op.speculative else "")
        lines.append(
            f"  {index:5d} {op.feed_wait or '':>5} {op.load_wait or '':>5} {cost.start:11.0f} "
            f"{cost.array_cycles:11d} "
            f"{cost.starved_cycles:11.0f} {cost.blocked_cycles:11.0f} {cost.bytes:11d}  {op.name}{flags}"
        )
    return "\n".join(lines)


def dump_buffers(graph: Graph, config: AcceleratorConfig) -> str:
    """On-chip memory map: words and lifetime of every buffer."""
    lines = [f"buffers of task '{graph.task}'"]
    spans = live_ranges(graph)
    for space, peak in peak_words(graph).items():
        lines.append(f"  {space.value} memory: {peak} of {capacity(space, config)} words used")
        for tensor in sorted(graph.tensors.values(), key=lambda t: (spans[t.name], t.name)):
            if tensor.space is space and tensor.address is not None:
                first, last = spans[tensor.name]
                lines.append(
                    f"    {tensor.address:6d}..{tensor.address + tensor.size - 1:<6d} "
                    f"operations {first:4d}..{last:<4d} "
                    f"{tensor.name} [{tensor.tokens} x {tensor.words}]"
                )
    return "\n".join(lines)


def dump_program(compilation: Compilation, task: str) -> str:
    """Disassembly of the three streams, each line with the operations it comes from."""
    program = compilation.programs[task]
    lines = []
    for stream, instructions in program.streams().items():
        lines.append(f"{stream} stream of task '{task}': {len(instructions)} instructions")
        lines += [
            f"  {index:5d}  {isa.disassemble(data)}    # {name}"
            for index, (data, name) in enumerate(zip(instructions, program.names[stream], strict=True))
        ]
    return "\n".join(lines)


def dump_memory(compilation: Compilation) -> str:
    """Regions of the DDR window and pieces of the weight stream."""
    manifest = compilation.image.manifest
    lines = [f"DDR window: {manifest['window']['bytes']} bytes at {manifest['window']['address']:#x}"]
    lines += [f"  {r['address']:#012x} {r['bytes']:10d} bytes  {r['name']}" for r in manifest["regions"]]
    lines.append("weight stream (all ports together)")
    lines += [f"  {p['offset']:12d} {p['bytes']:10d} bytes  {p['name']}" for p in manifest["pieces"]]
    return "\n".join(lines)


def dump(compilation: Compilation, task: str, timing: Timing) -> dict[str, str]:
    """Texts by stage: `ir`, `schedule`, `buffers`, `disassembly`, `memory`; `timing` is of the accelerator's
    pipelines.
    """
    config = compilation.image.config
    graph = compilation.scheduled[task]
    return {
        "ir": dump_graph(compilation.lowered[task]),
        "schedule": dump_schedule(graph, compilation.pieces, config, timing=timing),
        "buffers": dump_buffers(graph, config),
        "disassembly": dump_program(compilation, task),
        "memory": dump_memory(compilation),
    }
