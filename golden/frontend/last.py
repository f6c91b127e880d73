"""The last half of a block that was recognised, and whether what follows may be left to the host."""

from collections.abc import Iterator

from torch import fx

from moesaic.golden.frontend.meaning import Residual
from moesaic.golden.frontend.nodes import name_of
from moesaic.golden.frontend.reader import Reader, Unknown
from moesaic.golden.frontend.rearrange import COPIES, MOVES
from moesaic.golden.frontend.refusal import CaptureError, line_of

__all__ = ["last_residual"]

_PRODUCTS = {"addmm", "baddbmm", "bmm", "linear", "matmul", "mm", "mixture", "scaled_dot_product_attention"}
_MIXING = {"baddbmm", "bmm", "matmul", "mm", "scaled_dot_product_attention"}


def last_residual(graph: fx.GraphModule, reader: Reader) -> Residual:
    """The residual after the last block; `CaptureError` if there is none, or a block behind it was not understood."""
    found = [m for m in reader.meanings if isinstance(m, Residual) and m.node is not None]
    order = {node: i for i, node in enumerate(graph.graph.nodes)}
    last = max(found, key=lambda m: order[m.node] if m.node is not None else -1, default=None)
    at = -1 if last is None or last.node is None else order[last.node]
    behind = [node for node in graph.graph.nodes if order[node] > at]
    block = None if last is None else next((n for n in behind if _ends_block(n, last, order)), None)
    if last is not None and block is None:
        return last
    target = block or next(n for n in graph.graph.nodes if n.op == "output")
    candidates = [v for n, v in reader.values.items() if isinstance(v, Unknown) and v.node is n]
    unknown = [u for u in candidates if order[u.node] > at] or candidates
    near = [u for u in unknown if _leads_to(u.node, target)] or unknown
    if not near:
        raise CaptureError(
            "the module must be a vision transformer: patch embedding, then pre-norm blocks of attention and MLP; no "
            "block was "
            "found in it\nnearest supported: see docs/models.md"
        )
    raise CaptureError(_text(min(near, key=lambda u: order[u.node])))


def _ends_block(node: fx.Node, last: Residual, order: dict[fx.Node, int]) -> bool:
    """Whether a node behind the last residual is one more, of a block that was not recognised.

    That is a sum of x and what a matrix product made of x, where x is as large as the residual stream; or of x and
    what attention from x to x made of it, where x has several tokens, however large it is. Whatever else follows is a
    head, such as attention from a learnt query.
    """
    if node.op != "call_function" or name_of(node) not in ("add", "add_") or len(node.all_input_nodes) != 2:
        return False
    for skip, branch in (node.all_input_nodes, node.all_input_nodes[::-1]):
        start = _unmoved(skip)
        shape = tuple(getattr(skip.meta.get("val"), "shape", ()))
        between = list(_between(start, branch, order))
        if not between or len(shape) < 2:
            continue
        tokens, dim = last.shape
        if shape[-1] == dim and _size(shape) == tokens * dim and any(name_of(n) in _PRODUCTS for n in between):
            return True
        inside = {*between, start}
        if _size(shape) > shape[-1] and any(
            name_of(n) in _MIXING and len([s for s in n.all_input_nodes[:2] if s in inside]) == 2 for n in between
        ):
            return True
    return False


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _unmoved(node: fx.Node) -> fx.Node:
    """Where the values of a node come from, through what only moves them."""
    while node.op == "call_function" and name_of(node) in COPIES | MOVES and len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
    return node


def _between(start: fx.Node, end: fx.Node, order: dict[fx.Node, int]) -> Iterator[fx.Node]:
    """Functions on the ways from one node to another, both excluded at the start; none if there is no way."""
    earlier, waiting = set[fx.Node](), [end]
    while waiting:
        node = waiting.pop()
        if node not in earlier and order[node] > order[start]:
            earlier.add(node)
            waiting += node.all_input_nodes
    reached = {start}
    for node in sorted(earlier, key=lambda n: order[n]):
        if any(source in reached for source in node.all_input_nodes):
            reached.add(node)
    if end in reached:
        yield from (node for node in reached if node is not start and node.op == "call_function")


def _leads_to(node: fx.Node, target: fx.Node) -> bool:
    waiting, seen = [target], set[fx.Node]()
    while waiting:
        current = waiting.pop()
        if current is node:
            return True
        if current not in seen:
            seen.add(current)
            waiting += current.all_input_nodes
    return False


def _text(unknown: Unknown) -> str:
    refusal = unknown.refusal
    node = refusal.node or unknown.node
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0].replace("L['self'].", "") if stack and stack[-1][0] else ""
    inside = f" in '{path}'" if path else ""
    return (
        f"node '{node.name}'{inside} must be {refusal.expected}, not {refusal.found}\n"
        f"at {line_of(node) or 'an unknown line'}\nnearest supported: {refusal.nearest}"
    )
