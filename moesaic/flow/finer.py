"""Which layers get more bits: those that gain most for their cycles, up to a fidelity or within a budget."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from moesaic.errors import InputError
from moesaic.flow.calibration import Calibration
from moesaic.flow.forecast import forecast, whole_graph
from moesaic.flow.request import Request
from moesaic.golden.evaluation.propagated import Propagated, least_db
from moesaic.golden.finer import FinerLayer
from moesaic.golden.hollow import hollow_model
from moesaic.golden.layers.linear import FINER
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import prepared
from moesaic.golden.scales import FloatArray
from moesaic.golden.threads import one_thread

__all__ = ["choose_finer"]

_TOKENS = 1056  # that noise is measured on, or as near as whole images come: 8 of m3vit-tiny, 1 of m3vit-small
_TRIED = 6  # candidates of a turn whose cycles are asked for: those that would help most
_WORTH = 0.003  # of the noise in the worst block: who takes less away is no candidate


class _Search:
    """Chooses turn by turn."""

    def __init__(
        self, model: M3ViT, request: Request, qmodel: QuantModel, seen: Calibration, note: Callable[[str], None]
    ) -> None:
        few = seen.unseen[: max(1, _TOKENS // request.model.tokens)]
        self.request, self.note = request, note
        note("how far errors spread")
        self.noise = Propagated(prepared(model, seen.images), qmodel, few)
        self._cycles: dict[frozenset[tuple[str, str]], int] = {}
        self.alone: dict[str, dict[str, FloatArray]] = {}
        owners = {node.owner: layer for node, layer in zip(request.model.layers, qmodel.layers(), strict=True)}
        for number, (owner, layer) in enumerate(owners.items()):
            note(f"layer {number + 1} of {len(owners)}")
            hows = FINER if request.accelerator.wide_operands else FINER[:1]
            usable = [how for how in hows if how != "planes" or layer.first.reads == "streamed"]
            self.alone[owner] = {how: self.noise.alone(owner, how) for how in usable}

    def cycles(self, finer: Mapping[str, str]) -> int:
        """Of an image, if so many layers are finer."""
        key = frozenset(finer.items())
        if key not in self._cycles:
            request = self.request
            hollow = hollow_model(request.model, request.expert_bits, finer)
            graph = whole_graph(
                hollow, request.accelerator, request.tasks[0], blocks=request.blocks, speculate=request.speculate
            )
            self._cycles[key] = forecast(graph, request.accelerator).cycles
        return self._cycles[key]

    def candidates(self, chosen: Mapping[str, str], noise: FloatArray) -> Iterator[tuple[float, str, str]]:
        """Noise that a change would take away in the worst block, and the change."""
        worst = np.unravel_index(int(np.argmax(noise)), noise.shape)
        for owner, ways in self.alone.items():
            now = float(ways[chosen[owner]][worst]) if owner in chosen else 0.0
            for how, noises in ways.items():
                gain = float(noises[worst]) - now
                if gain > _WORTH * noise[worst] and (owner not in chosen or _after(how, chosen[owner])):
                    yield gain, owner, how

    def best(self, chosen: dict[str, str], noise: FloatArray, budget: float) -> dict[str, str] | None:
        """`chosen` with the change that takes away most for its cycles; None if none is left."""
        first, most, rated = self.cycles({}), float(noise.max()), list[tuple[float, str, str]]()
        for gain, owner, how in sorted(self.candidates(chosen, noise), reverse=True)[:_TRIED]:
            now = {owner: chosen[owner]} if owner in chosen else {}
            extra = self.cycles({owner: how}) - self.cycles(now)  # beside the others it is much the same
            rated.append((-math.log(max(1 - gain / most, 0.01)) / max(extra, 1), owner, how))
        trials = (chosen | {owner: how} for _, owner, how in sorted(rated, reverse=True))
        return next((trial for trial in trials if budget == math.inf or self.cycles(trial) - first <= budget), None)

    def rows(self, finer: Mapping[str, str]) -> tuple[FinerLayer, ...]:
        """What each of the layers adds to those before it."""
        result, sofar, cycles, noise = list[FinerLayer](), dict[str, str](), self.cycles({}), least_db(self.noise.of())
        for name, how in finer.items():
            sofar[name] = how
            now, reached = self.cycles(sofar), least_db(self.noise.of(sofar))
            result.append(
                FinerLayer(name=name, finer=how, sqnr_db=reached, gained_db=reached - noise, cycles=now - cycles)
            )
            cycles, noise = now, reached
        return tuple(result)


def _after(how: str, other: str) -> bool:
    return FINER.index(how) > FINER.index(other)


@one_thread()
def choose_finer(
    model: M3ViT, request: Request, qmodel: QuantModel, seen: Calibration, *, note: Callable[[str], None]
) -> tuple[FinerLayer, ...]:
    """Layers that get more bits, in the order in which they were chosen.

    Parameters
    ----------
    model : M3ViT
    request : Request
        With `target_db`, a least SQNR after every block; or `budget`, cycles that may be added to an image; or both.
    qmodel : QuantModel
        The network quantised as ever.
    seen : Calibration
        Images of calibration, and to judge by: noise is measured on the first of those.
    note : callable of str
        Told how far it is.

    Raises
    ------
    InputError
        If the target cannot be reached, whatever it takes: the message says how far it goes.
    """
    search, chosen = _Search(model, request, qmodel, seen, note), dict[str, str]()
    target = math.inf if request.target_db is None else request.target_db
    budget = math.inf if request.budget is None else request.budget
    reached = most = least_db(search.noise.of())
    best = chosen
    while reached < target:
        note(f"{reached:.1f} dB, {len(chosen)} layers")
        trial = search.best(chosen, search.noise.of(chosen, held=True), budget)
        if trial is None:
            break
        chosen, reached = trial, least_db(search.noise.of(trial))
        if reached > most:  # tokens that now go elsewhere may cost more than a layer gains
            best, most = chosen, reached
    if most < target < math.inf and request.budget is None:
        wide = "" if request.accelerator.wide_operands else ", which has no wide_operands"
        raise InputError(
            f"target_db must be at most {math.floor(10 * most) / 10:.1f} for {request.model.name} on "
            f"{request.board}{wide}, not {target:g}"
        )
    chosen = best
    for name in best if most >= target else ():  # what later choices made superfluous
        fewer = {other: how for other, how in chosen.items() if other != name}
        if least_db(search.noise.of(fewer)) >= target:
            chosen = fewer
    return search.rows(chosen)
