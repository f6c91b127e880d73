"""What the tensors of a vision transformer with timm's names say about its sizes."""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from moesaic.golden.importers.check import EXPERTS
from moesaic.golden.importers.files import Tensors
from moesaic.golden.importers.problem import ImportProblem

__all__ = ["Sizes", "agreed", "consecutive", "depth_of", "mixtures", "shape", "sizes_of", "usual"]

BLOCK = re.compile(r"blocks\.(\d+)\.")


@dataclass(frozen=True)
class Sizes:
    """Sizes that every vision transformer has.

    Parameters
    ----------
    dim, patch, depth : int
        Channels, side of a patch in pixels, blocks.
    tokens : int
        Rows of the position table.
    hidden : tuple of int
        Hidden units of each block's dense MLP; what is usual where a block does not tell.
    """

    dim: int
    patch: int
    depth: int
    tokens: int
    hidden: tuple[int, ...]


def usual(found: Iterable[int]) -> int:
    """What most say; of equally many the largest, as tensors are cut and not stretched; 0 if nobody says anything."""
    counts = Counter(found)
    return max(counts, key=lambda value: (counts[value], value), default=0)


def agreed(votes: Iterable[int], usual: int) -> int:
    """What two or more of a block's tensors say; otherwise what is usual, as one of them may be damaged."""
    counts = Counter(votes)
    return max((value for value in counts if counts[value] > 1), key=lambda value: counts[value], default=usual)


def _hidden(tensors: Tensors, block: int, dim: int) -> list[int]:
    """What each tensor of a block's dense MLP says about its hidden units."""
    layer, votes = f"blocks.{block}.mlp.", list[int]()
    for name, of_rows in (("fc1.weight", True), ("fc1.bias", True), ("fc2.weight", False)):
        found = tuple(tensors[layer + name].shape) if layer + name in tensors else ()
        other = found[1:] if of_rows else found[:1]
        if found and other in ((), (dim,)):
            votes.append(found[0] if of_rows else found[-1])
    return votes


def shape(tensors: Tensors, name: str, dimensions: int, source: str) -> tuple[int, ...]:
    """Shape of a tensor that sizes are read from.

    Raises
    ------
    ImportProblem
        If it is missing, or has another number of dimensions.
    """
    if name not in tensors:
        raise ImportProblem(f"weights must have {name}, which gives the model's sizes, not {source!r}")
    found = tuple(tensors[name].shape)
    if len(found) != dimensions or 0 in found:
        raise ImportProblem(
            f"{name} must have {dimensions} dimensions, none of them empty, not {list(found)} ({source})"
        )
    return found


def consecutive(numbers: Iterable[int], what: str, source: str) -> int:
    """How many there are of what is numbered from 0.

    Raises
    ------
    ImportProblem
        If numbers below the largest are missing.
    """
    found = set(numbers)
    count = max(found, default=-1) + 1
    if len(found) < count:
        missing = list(itertools.islice((i for i in range(count) if i not in found), 8))
        raise ImportProblem(
            f"{what} must be numbered from 0 without gaps, not to {count - 1} without "
            f"{', '.join(map(str, missing))}{'...' if count - len(found) > len(missing) else ''} ({source})"
        )
    return count


def depth_of(names: Iterable[str], source: str) -> int:
    """Blocks, by their numbers.

    Raises
    ------
    ImportProblem
        If one is missing as a whole.
    """
    return consecutive((int(match.group(1)) for name in names if (match := BLOCK.match(name))), "blocks", source)


def sizes_of(tensors: Tensors, source: str) -> Sizes:
    """Sizes from the embedding's shapes and the blocks' names.

    Raises
    ------
    ImportProblem
        If they are not there, or patches are not square and of three channels.
    """
    dim, channels, down, across = shape(tensors, "patch_embed.proj.weight", 4, source)
    if channels != 3 or down != across:
        raise ImportProblem(
            f"patch_embed.proj.weight must be [dim, 3, patch, patch], not {[dim, channels, down, across]} ({source})"
        )
    depth = depth_of(tensors, source)
    if not depth:
        raise ImportProblem(f"weights must have blocks.0 and so on, not {source!r}")
    tokens = shape(tensors, "pos_embed", 3, source)[1]
    votes = [_hidden(tensors, block, dim) for block in range(depth)]
    common = usual(itertools.chain(*votes)) or 4 * dim
    return Sizes(dim, down, depth, tokens, tuple(agreed(found, common) for found in votes))


def mixtures(tensors: Collection[str], source: str) -> tuple[int, ...]:
    """Blocks with a mixture: those that have experts or a gate, and of what is left out those in step with them.

    A block without any MLP is missing tensors, which are listed later on; it counts as a mixture if the blocks that
    are there alternate so.
    """
    parts = (EXPERTS, ".mlp.gate.")
    found = {int(m.group(1)) for name in tensors if any(p in name for p in parts) and (m := BLOCK.match(name))}
    if not found:
        return ()
    first = min(found)
    in_step = range(first, depth_of(tensors, source), first + 1)
    return tuple(sorted(found | {block for block in in_step if f"blocks.{block}.mlp.fc1.weight" not in tensors}))
