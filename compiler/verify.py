"""The verifier that runs after every pass."""

from moesaic.compiler.ir import CompileError, Graph, Op, live_ranges
from moesaic.hw.spec.isa import FORMATS, Function, Opcode, Stationary
from moesaic.hw.spec.legal import refusal

__all__ = ["verify"]

# Fields that `compiler.emit` makes of operands and addresses, and judges with them.
_EMITTED = {
    *("expert_valid", "expert", "token_count", "token_base", "dst_memory", "tap"),
    *("words", "src_addr", "offset"),
}


def _check_op(graph: Graph, op: Op, written: set[str]) -> None:
    def fail(problem: str) -> None:
        raise CompileError(f"op '{op.name}': {problem}")

    layout = FORMATS[op.opcode]
    names = {f.name for f in layout.fields}
    for name, value in op.fields.items():
        if name not in names:
            fail(f"{op.opcode.name} has no field '{name}'")
        if not 0 <= value < 1 << layout.field(name).bits:
            fail(f"field '{name}' must be between 0 and {(1 << layout.field(name).bits) - 1}, not {value!r}")
    for wait in ("feed_wait", "load_wait"):
        if not 0 <= getattr(op, wait) <= 63:
            fail(f"{wait} must be between 0 and 63, not {getattr(op, wait)!r}")
    for name, written_to in (*((name, False) for name in op.reads()), *((name, True) for name in op.writes())):
        if name not in graph.tensors:
            fail(f"buffer '{name}' does not exist")
        low, high = graph.rows(op, name, written=written_to)
        if not 0 <= low < high <= graph.tensors[name].tokens:
            fail(f"vectors {low} to {high - 1} must lie in buffer '{name}' of {graph.tensors[name].tokens}")
    for name in op.reads():
        if name not in written:
            fail(f"buffer '{name}' must be written before it is read")
    if op.opcode is Opcode.MATMUL:
        if op.source is None:
            fail("a MATMUL must have a source")
        if (op.stationary is Stationary.WEIGHTS) != (op.weights is not None):
            fail("exactly the MATMULs with stationary WEIGHTS must name a piece of the weight stream")
        if (op.stationary is not Stationary.WEIGHTS) != (op.kv is not None):
            fail("exactly the MATMULs with stationary KEYS or VALUES must name a key/value buffer")
        if (op.function is Function.ROUTE) != (op.target is None):
            fail("exactly the MATMULs with function ROUTE must have no target")
        if op.source is not None and op.target is not None and op.source.tensor == op.target.tensor:
            fail(f"source and target must differ, not both be '{op.source.tensor}'")
    reason = refusal(op.opcode, {**{name: 0 for name in names - _EMITTED}, **op.fields})
    if reason is not None:
        fail(reason)
    if op.opcode is Opcode.COPY and (op.target is None or op.weights is None):
        fail("a COPY must have a target and name a piece of the weight stream")
    if op.moved and (op.function is not Function.ADD or not op.fields.get("fresh")):
        fail("only an ADD that sums anew can write other tokens than it reads")
    if op.speculative and op.expert is None:
        fail("only an expert can be speculative")


def verify(graph: Graph) -> Graph:
    """Check what every graph must satisfy, whatever passes it went through, and return it.

    Raises
    ------
    CompileError
        Naming the first operation or buffer that is wrong: duplicate names, fields that do not exist or do not fit,
        vectors outside their buffer, a read before any write, an expert without a router, two live buffers at one
        address.
    """
    names: set[str] = set()
    written: set[str] = set()
    routed: tuple[int, int] | None = None
    for op in graph.ops:
        if op.name in names:
            raise CompileError(f"op '{op.name}': name must be unique")
        names.add(op.name)
        _check_op(graph, op, written)
        written.update(op.writes())
        if op.opcode is Opcode.MATMUL and op.function is Function.ROUTE:
            routed = (op.block, op.chunk)
        if op.expert is not None and routed != (op.block, op.chunk):
            raise CompileError(f"op '{op.name}': expert {op.expert} must follow the router of its block")
    lifetimes = {name: span for name, span in live_ranges(graph).items() if graph.tensors[name].address is not None}
    ordered = sorted(lifetimes, key=lambda name: lifetimes[name])
    active: list[str] = []
    for name in ordered:
        tensor, (start, _) = graph.tensors[name], lifetimes[name]
        active = [other for other in active if lifetimes[other][1] >= start]
        for other_name in active:
            other = graph.tensors[other_name]
            if (
                other.space is tensor.space
                and tensor.address is not None
                and other.address is not None
                and tensor.address < other.address + other.size
                and other.address < tensor.address + tensor.size
            ):
                raise CompileError(
                    f"buffer '{name}': words {tensor.address} to {tensor.address + tensor.size - 1} of the "
                    f"{tensor.space.value} memory must not overlap '{other_name}' while both are alive"
                )
        active.append(name)
    return graph
