"""What only moves elements: views, transpositions, slices, concatenations."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from moesaic.golden.frontend.known import Known
from moesaic.golden.frontend.nearest import MIXTURE_RECIPE
from moesaic.golden.frontend.nodes import function_of
from moesaic.golden.frontend.refusal import Refusal

__all__ = ["COPIES", "MOVES", "SHAPES", "move"]

COPIES = {  # leave every element what and where it is
    "_to_copy",
    "alias",
    "clone",
    "contiguous",
    "detach",
    "detach_",
    "dropout",
    "lift_fresh_copy",
    "to",
    "type_as",
}
JOINS = {"cat", "concat", "stack", "hstack", "vstack"}
MOVES = JOINS | {
    "_unsafe_view",
    "chunk",
    "expand",
    "expand_as",
    "flatten",
    "flip",
    "im2col",
    "index",
    "index_select",
    "movedim",
    "narrow",
    "permute",
    "pixel_unshuffle",
    "repeat",
    "reshape",
    "roll",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "squeeze",
    "swapaxes",
    "t",
    "tile",
    "transpose",
    "unbind",
    "unflatten",
    "unfold",
    "unsqueeze",
    "view",
}
SHAPES = {"empty_like", "full_like", "new_empty", "new_full", "new_ones", "new_zeros", "ones_like", "zeros_like"}


def move(
    constant: Callable[[Known], torch.Tensor], node: fx.Node, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Do to the elements' numbers what the node does to the elements; `constant` makes elements of a constant."""

    def ids(arg: Any) -> Any:
        if isinstance(arg, Known) and isinstance(arg.value, torch.Tensor):
            # What is joined is data; what is indexed with is a number.
            return constant(arg) if name in JOINS else arg.value
        return [ids(item) for item in arg] if isinstance(arg, (list, tuple)) else arg

    plain = [ids(arg) for arg in args]
    if name == "index" and any(i is not None and i.dtype == torch.bool for i in plain[1]):
        raise Refusal(
            "a choice of tokens by a mask",
            expected="every token, in every layer",
            nearest=MIXTURE_RECIPE,
        )
    if name == "im2col":  # not made for integers; double holds these exactly
        return function_of(node)(plain[0].double(), *plain[1:], **kwargs).long()
    if name in ("view", "_unsafe_view"):  # the numbers need not lie in memory as the tensor does
        return plain[0].reshape(plain[1])
    try:
        result = function_of(node)(*plain, **kwargs)
    except IndexError as error:  # shapes alone, which is all that torch.export looks at, do not show it
        raise Refusal(
            f"an index out of bounds ({error})",
            expected="an index within the tensor",
            nearest="the same code with indices that are there, which runs outside of this program too",
        ) from error
    return list(result) if isinstance(result, tuple) else result
