"""What a network's graph must be: known kinds, no loose ends, one residual stream from the embedding to the last layer.

Plain Python 3.10, as `golden.network`.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import NoReturn

from moesaic.errors import InputError
from moesaic.golden.layers.sizes import SIZES, EmbeddingSizes
from moesaic.golden.nodes import Image, Node, TaskEmbeddingSizes

__all__ = ["checked_chain"]

_CHAIN = "the accelerator runs a chain of layers on one residual stream"


def _refuse(node: Node, requirement: str, found: object) -> NoReturn:
    at = f" ({node.origin.module}, {node.origin.line})" if node.origin is not None else ""
    raise InputError(f"node '{node.name}'{at}: {requirement}, not {found}")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def checked_chain(
    nodes: Sequence[Node], image: Image, prefix_tokens: int, task_embedding: TaskEmbeddingSizes | None
) -> tuple[Node, ...]:
    """Nodes in the order of the residual stream, embedding first.

    Parameters
    ----------
    nodes : sequence of Node
        In any order.
    image : Image
    prefix_tokens : int
        Learnt tokens before the patches.
    task_embedding : TaskEmbeddingSizes or None

    Raises
    ------
    InputError
        If the graph is none that can be run; the message names the node.
    """
    names = Counter(node.name for node in nodes)
    for node in nodes:
        if names[node.name] > 1:
            _refuse(node, "names of nodes must be distinct", f"of {names[node.name]} nodes")
        _check_node(node)
    for node in nodes:
        for name in node.inputs:
            if name not in names:
                _refuse(node, "inputs must be nodes of the network", repr(name))
    chain = _chain(nodes)
    tokens = image.patches + prefix_tokens
    if chain[0].output.tokens != tokens:
        wanted = f"{image.patches} patches and {prefix_tokens} learnt tokens"
        _refuse(chain[0], f"output must be {tokens} tokens, {wanted}", chain[0].output.tokens)
    for before, node in itertools.pairwise(chain):
        if node.output != before.output:
            found = f"{node.output.tokens} of {node.output.channels}"
            wanted = f"{before.output.tokens} tokens of {before.output.channels} channels, as of '{before.name}'"
            _refuse(node, f"output must be {wanted}", found)
    _check_blocks(chain)
    task_dim = 0 if task_embedding is None else task_embedding.channels
    if task_embedding is not None and task_dim < 1:
        raise InputError(f"channels of the task embedding must be positive, not {task_dim!r}")
    for node in chain:
        misfit = node.sizes.misfit(dim=node.output.channels, patch_values=image.patch_values, task_dim=task_dim)
        if misfit:
            raise InputError(f"node '{node.name}': {misfit}")
    _check_sharing(chain)
    return chain


def _check_sharing(chain: Sequence[Node]) -> None:
    """Common matrices are of the first of their layers, and of one shape."""
    known: dict[str, Node] = {}
    for node in chain:
        if node.sharing is None:
            continue
        owner = known.setdefault(node.name, node) if not node.borrows else known.get(node.sharing.owner)
        if owner is None:
            _refuse(node, "matrices must be its own, or of an earlier layer that shares them", repr(node.sharing.owner))
        if owner.kind != node.kind:
            _refuse(node, f"kind must be {owner.kind!r}, as of '{owner.name}', whose matrices it uses", repr(node.kind))
        if unlike := owner.sizes.unlike(node.sizes):
            raise InputError(f"node '{node.name}': {unlike}, as of '{owner.name}', whose matrices it uses")
        if owner.sharing != node.sharing:
            _refuse(node, f"own_norms must be as of '{owner.name}', whose matrices it uses", node.sharing.own_norms)


def _check_node(node: Node) -> None:
    """A node by itself."""
    if node.kind not in SIZES:
        _refuse(node, f"kind must be one of {', '.join(SIZES)}", repr(node.kind))
    if type(node.sizes) is not SIZES[node.kind]:
        _refuse(node, f"sizes must be {SIZES[node.kind].__name__}", type(node.sizes).__name__)
    first = node.kind == EmbeddingSizes.kind
    if first and node.block is not None:
        _refuse(node, "the embedding must have no block", repr(node.block))
    if not first and node.norm is None:
        _refuse(node, "a layer must read the residual stream through a norm", "None")
    problem = node.sizes.problem or (node.norm is not None and node.norm.problem)
    if problem:
        raise InputError(f"node '{node.name}': {problem}")
    if min(node.output.tokens, node.output.channels) < 1:
        _refuse(node, "output must have tokens and channels", f"{node.output.tokens} and {node.output.channels}")


def _chain(nodes: Sequence[Node]) -> tuple[Node, ...]:
    starts = [node for node in nodes if node.kind == EmbeddingSizes.kind]
    if len(starts) != 1:
        raise InputError(
            f"a network must have one node of kind 'embedding', not {_quoted([node.name for node in starts])}"
        )
    readers: dict[str, list[Node]] = {node.name: [] for node in nodes}
    for node in nodes:
        wanted = 0 if node is starts[0] else 1
        if len(node.inputs) != wanted:
            what = _CHAIN if wanted else "the embedding reads the image"
            _refuse(node, f"inputs must be {wanted} ({what})", f"{len(node.inputs)}: {_quoted(node.inputs)}")
        for name in node.inputs:
            readers[name].append(node)
    unread = [node for node in nodes if not readers[node.name]]
    if len(unread) > 1:  # as every layer has one input, another node has more than one reader
        fork, found = next((name, found) for name, found in readers.items() if len(found) > 1)
        both = _quoted([node.name for node in found])
        _refuse(unread[0], f"output must be read by another node ({_CHAIN}, and '{fork}' is read by {both})", "nobody")
    chain = [starts[0]]
    while following := readers[chain[-1].name]:
        chain += following
    if len(chain) < len(nodes):  # each of those left reads another of them
        left = [node.name for node in nodes if node not in chain]
        raise InputError(f"nodes must follow one another without a cycle, not {_quoted(left)}")
    if len(chain) == 1:
        _refuse(chain[0], "the embedding must be read by a layer", "by none")
    return tuple(chain)


def _check_blocks(chain: Sequence[Node]) -> None:
    """Blocks are numbered along the stream; each has its nodes in a row, a mixture last."""
    number = -1
    for before, node in itertools.pairwise(chain):
        allowed = (number, number + 1) if number >= 0 else (0,)
        if node.block is None or isinstance(node.block, bool) or node.block not in allowed:
            _refuse(node, f"block must be {' or '.join(map(str, allowed))}", repr(node.block))
        if node.block == number and before.sizes.routed is not None:
            _refuse(node, f"a block must end with its mixture ('{before.name}')", "go on")
        number = node.block
        leaf = node.name.removeprefix(f"blocks.{number}.")
        if leaf == node.name or not leaf.isidentifier():
            _refuse(node, f"name must be 'blocks.{number}.' and a word", repr(node.name))
