"""Latency by how a router spreads the tokens: all to the same experts, evenly, and as it did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moesaic.flow.layers import layer_works
from moesaic.flow.model_cycles import Routing, TaskModel

__all__ = ["WorstCase", "even_routing", "same_routing", "worst_cases"]


@dataclass(frozen=True)
class WorstCase:
    """A way to spread the tokens, and what it takes by the analytic model.

    Parameters
    ----------
    title : str
    cycles : int
    latency_ms : float
    bytes : int
        Through the weight ports.
    routing : mapping of block name to tuple of int
        Tokens in each expert's queue.
    """

    title: str
    cycles: int
    latency_ms: float
    bytes: int
    routing: Mapping[str, tuple[int, ...]]


def even_routing(routed: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """As many tokens for every expert, as nearly as they divide."""
    result = {}
    for block, tokens in routed.items():
        share, rest = divmod(sum(tokens), len(tokens))
        result[block] = [share + (expert < rest) for expert in range(len(tokens))]
    return result


def same_routing(routed: Mapping[str, Sequence[int]], chosen: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """All tokens choose the same experts: those of `chosen`, block by block."""
    return {
        block: [sum(tokens) // len(chosen[block]) if expert in chosen[block] else 0 for expert in range(len(tokens))]
        for block, tokens in routed.items()
    }


def _fetch_order(model: TaskModel, block: str) -> list[int]:
    """Experts of a block as the program comes to them; those whose weights are fetched before the router has decided
    first.
    """
    experts: dict[int, bool] = {}
    for op in model.graph.ops:
        if op.expert is not None and f"blocks.{op.block}" == block:
            experts.setdefault(op.expert, op.speculative)
    return sorted(experts, key=lambda expert: not experts[expert])


def worst_cases(model: TaskModel, routed: Routing) -> dict[str, WorstCase]:
    """Cycles, time and weight bytes of each case, by the analytic model.

    Parameters
    ----------
    model : TaskModel
    routed : mapping of block name to sequence of int
        Tokens in each expert's queue, in this run.

    Returns
    -------
    dict of case to WorstCase
        `same_guessed` and `same_unguessed`: all tokens choose the same experts, which are those fetched first or last;
        `even`; `real`. Empty without mixtures.
    """
    if not routed:
        return {}
    order = {block: _fetch_order(model, block) for block in routed}
    top_k = {f"blocks.{op.block}": op.routed[0] for op in model.graph.ops if op.expert is not None}
    most = max(top_k[block] for block in routed)
    cases: dict[str, tuple[str, Routing]] = {
        "real": ("as this image is routed", dict(routed)),
        "even": ("every expert gets as many tokens", even_routing(routed)),
        "same_guessed": (
            f"all tokens choose the same {most}, fetched first",
            same_routing(routed, {block: experts[: top_k[block]] for block, experts in order.items()}),
        ),
        "same_unguessed": (
            f"all tokens choose the same {most}, fetched last",
            same_routing(routed, {block: experts[-top_k[block] :] for block, experts in order.items()}),
        ),
    }
    result = {}
    for name, (title, routing) in cases.items():
        works = layer_works(model, routing)
        cycles = sum(work.cycles for work in works)
        result[name] = WorstCase(
            title=title,
            cycles=round(cycles),
            latency_ms=round(cycles / (1e3 * model.accelerator.clock_mhz), 6),
            bytes=sum(work.activity.stream_bytes for work in works),
            routing={block: tuple(int(count) for count in tokens) for block, tokens in routing.items()},
        )
    return result
