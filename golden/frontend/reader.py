"""Reads a captured graph node by node: every tensor is followed, element by element, back to a layer it came from."""

import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from moesaic.golden.frontend.known import Known
from moesaic.golden.frontend.meaning import Chosen, Constant, Meaning, RankedIndex, Residual
from moesaic.golden.frontend.nearest import nearest
from moesaic.golden.frontend.nodes import function_of, name_of
from moesaic.golden.frontend.rearrange import COPIES, MOVES, SHAPES, move
from moesaic.golden.frontend.refusal import FAILURES, UNFORESEEN, Refusal

__all__ = ["Handler", "Reader", "Unknown", "Value"]


@dataclass(frozen=True)
class Unknown:
    """What follows from a node that was refused; the refusal may point at an earlier one."""

    refusal: Refusal
    node: fx.Node


Value = Any  # ids (int64 Tensor), Known, Unknown, or a list of these
Handler = Callable[["Reader", fx.Node, Sequence[Any], Mapping[str, Any]], Value]


class Reader:
    """Follows the elements of every tensor.

    Each meaning (`meaning.Meaning`) owns a range of numbers, one for each of its elements. A tensor of the graph is
    held as the numbers of its elements, in its own shape. What only moves elements (views, transpositions, slices,
    concatenations) is done to the numbers; what computes is recognised by a handler, which looks the numbers up and
    makes a new meaning. So no particular order of heads, of tokens or of q, k and v is assumed anywhere.

    Parameters
    ----------
    handlers : mapping of ATen name to Handler
        What computes.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.handlers = handlers
        self.values: dict[fx.Node, Value] = {}
        self.meanings: list[Meaning] = []
        self._starts: list[int] = []
        self._end = 0
        self._constants: dict[int, tuple[Known, torch.Tensor]] = {}

    # Elements.

    def add(self, meaning: Meaning) -> int:
        """Give a meaning its numbers; the first of them."""
        start, size = self._end, 1
        for length in meaning.shape:
            size *= length
        self.meanings.append(meaning)
        self._starts.append(start)
        self._end += size
        return start

    def find(self, ids: torch.Tensor) -> tuple[Meaning, torch.Tensor] | None:
        """The one meaning that all elements belong to, and their places in it; None if there are several, or no
        elements.
        """
        if not ids.numel():
            return None
        low, high = (int(x) for x in torch.aminmax(ids))
        at = bisect_right(self._starts, low) - 1
        if at != bisect_right(self._starts, high) - 1:
            return None
        return self.meanings[at], ids - self._starts[at]

    def owners(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """For each element the position of its meaning in `meanings`, and its place in it."""
        starts = torch.tensor(self._starts)
        at = torch.searchsorted(starts, ids.contiguous(), right=True) - 1
        return at, ids - starts[at]

    def constant(self, known: Known) -> torch.Tensor:
        """A constant as elements, so that it can be joined with others."""
        if id(known) not in self._constants:
            tensor = known.value
            meaning = Constant(node=None, shape=tuple(tensor.shape), values=tensor.flatten(), names=known.names)
            start = self.add(meaning)
            self._constants[id(known)] = (known, torch.arange(start, start + tensor.numel()).view(tensor.shape))
        return self._constants[id(known)][1]

    # Nodes.

    def read(self, module: fx.GraphModule, inputs: Iterable[Value]) -> None:
        """Read a whole graph; `inputs` are the values of its placeholders."""
        given = iter(inputs)
        last = {used: node for node in module.graph.nodes for used in node.all_input_nodes}
        for node in module.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = next(given)
            elif node.op == "get_attr":
                self.values[node] = Known(operator.attrgetter(node.target)(module), (node.target,))
            elif node.op == "call_function":
                self.values[node] = self._call(node)
            for used in node.all_input_nodes:
                if last[used] is node and not self._kept(used):
                    del self.values[used]

    def _copied(self, node: fx.Node, name: str, args: Sequence[Any]) -> Value:
        if isinstance(args[0], Known):  # brought to the type of a tensor that depends on the image, which is float32
            return args[0]
        types = [arg for arg in (*args[1:], *node.kwargs.values()) if isinstance(arg, torch.dtype)]
        found = self.find(args[0])
        numbers = found is not None and isinstance(found[0], (Chosen, RankedIndex))  # whole ones, which any type holds
        if any(kind not in (torch.float32, torch.float64) and not (numbers and kind != torch.bool) for kind in types):
            raise Refusal(
                f"a cast to {types[0]}", expected="float32", nearest="float32 throughout: remove the cast or autocast"
            )
        if name == "dropout" and bool(args[2]):
            raise Refusal(
                "dropout that is active in inference mode", expected="no dropout", nearest="nn.Dropout, after .eval()"
            )
        return args[0]

    def _kept(self, node: fx.Node) -> bool:
        """Whether a value is needed after the last node that reads it: residuals and refusals are."""
        value = self.values[node]
        if not isinstance(value, torch.Tensor):
            return isinstance(value, Unknown)
        found = self.find(value)
        return found is not None and isinstance(found[0], Residual)

    def _call(self, node: fx.Node) -> Value:
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: self.values[n])
        leaves = pytree.tree_leaves((args, kwargs), is_leaf=lambda x: isinstance(x, (Known, Unknown)))
        for leaf in leaves:
            if isinstance(leaf, Unknown):
                return leaf
        if node.target is operator.getitem:
            return _item(args[0], args[1])
        name = name_of(node)
        if name.startswith("_assert"):  # shapes and types are fixed
            return Known(None)
        if name == "copy_":  # what the module leaves in its buffers, or in its input
            return args[1]
        if name in SHAPES or not any(isinstance(leaf, torch.Tensor) for leaf in leaves):
            return _evaluate(node, args, kwargs)
        try:
            if name in COPIES:
                return self._copied(node, name, args)
            if name in MOVES:
                return move(self.constant, node, name, args, kwargs)
            if name in self.handlers:
                return self.handlers[name](self, node, args, kwargs)
            raise Refusal(f"'{name}'", expected="a layer of a pre-norm vision transformer", nearest=nearest(name))
        except Refusal as refusal:
            return Unknown(refusal, node)
        except FAILURES as error:
            said = f"'{name}' {UNFORESEEN} ({type(error).__name__}: {' '.join(str(error).split())})"
            return Unknown(Refusal(said, expected="a layer that is supported", nearest=nearest(name)), node)


def _item(value: Value, index: Any) -> Value:
    if isinstance(value, Known):
        return Known(value.value[index], value.names)
    return value[index]


def _evaluate(node: fx.Node, args: Any, kwargs: Any) -> Value:
    """What does not depend on the image, computed; of tensors that do, only shapes are used."""
    names: dict[str, None] = {}

    def plain(leaf: Any) -> Any:
        if isinstance(leaf, Known):
            names.update(dict.fromkeys(leaf.names))
            return leaf.value
        return torch.empty(leaf.shape) if isinstance(leaf, torch.Tensor) else leaf

    def is_leaf(x: Any) -> bool:
        return isinstance(x, Known)

    with torch.no_grad():
        plain_args, plain_kwargs = (pytree.tree_map(plain, x, is_leaf=is_leaf) for x in (args, kwargs))
        result = function_of(node)(*plain_args, **plain_kwargs)
    return Known(result, tuple(names))
