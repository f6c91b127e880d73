"""The explore stage: what every configuration of a space would take and cost for a model on a board, and the best of
them.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moesaic.boards.board import Board
from moesaic.boards.estimate import estimate_resources, model
from moesaic.boards.resources import Resources
from moesaic.boards.synthesis.budget import TITLES
from moesaic.compiler.memory import BOARD_MEMORY, IDEAL_MEMORY, DdrTiming
from moesaic.energy.calibration import calibration
from moesaic.energy.model import Device, Layer, run_power
from moesaic.errors import InputError
from moesaic.flow.exploration import DdrAssumed, Exploration, FrontPoint, Searched
from moesaic.flow.explore_space import AUTO_SPECULATION, Choice, Space, configurations
from moesaic.flow.explore_work import Question, forecasts
from moesaic.flow.forecast import Forecast
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import Runner

__all__ = ["Found", "Point", "explore", "front", "front_point"]

SAME = 0.005  # latencies and shares that differ by less are the same: the models are no better


@dataclass(frozen=True)
class Found:
    """An exploration, and the points of its front with all that is known of them."""

    exploration: Exploration
    best: tuple["Point", ...]


@dataclass(frozen=True)
class Point:
    """A configuration that holds the model and fits the board.

    Parameters
    ----------
    choice : Choice
    forecast : Forecast
    resources : Resources
        Estimated.
    budget : Resources
    ddr : DdrTiming
        Of the board, or ideal.
    energy_mj : float
        Of an image, estimated: chip and DDR, mJ.
    """

    choice: Choice
    forecast: Forecast
    resources: Resources
    budget: Resources
    ddr: DdrTiming
    energy_mj: float

    @property
    def milliseconds(self) -> float:
        """Of a program, by the analytic model: what each of its images waits."""
        return self.forecast.cycles / self.choice.accelerator.clock_mhz / 1e3

    @property
    def image_ms(self) -> float:
        """Divided by its images: how often one is done, run after run."""
        return self.milliseconds / self.choice.batch

    @property
    def limit(self) -> str:
        """What the time goes by: `DDR`, `ports` (the weight stream's bandwidth) or `array`."""
        accelerator, dram = self.choice.accelerator, self.ddr.dram
        if self.forecast.read_bytes / self.ddr.bytes_per_cycle(accelerator) <= self.forecast.array_cycles:
            return "array"
        return "DDR" if dram is not None and dram.rate * dram.busy < accelerator.stripe_bytes else "ports"

    @property
    def shares(self) -> dict[str, float]:
        """Of the board's resources, by kind; kinds that it has none of are absent."""
        used, there = self.resources.to_dict(), self.budget.to_dict()
        return {kind: used[kind] / there[kind] for kind in used if there[kind]}

    @property
    def fullest(self) -> str:
        """The kind of which most is taken."""
        return max(self.shares, key=lambda kind: self.shares[kind])

    @property
    def share(self) -> float:
        """Of the fullest kind: what an accelerator costs."""
        return self.shares[self.fullest]

    @property
    def goals(self) -> tuple[float, float, float, float]:
        """What shall be small: latency, share of the device, energy of an image, time between images."""
        return self.milliseconds, self.share, self.energy_mj, self.image_ms


def _beats(one: Point, other: Point) -> bool:
    """In nothing worse, as far as the models can tell."""
    return all(a <= (1 + SAME) * b for a, b in zip(one.goals, other.goals, strict=True))


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in all of latency, share of the device, energy and throughput, the fastest first.

    Of points that are the same within what the models can tell apart one is kept, the one whose goals have the smallest
    product.
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (math.prod(p.goals), p.goals)):
        if not any(_beats(other, point) for other in kept):
            kept = [*(other for other in kept if not _beats(point, other)), point]
    return sorted(kept, key=lambda p: p.goals)


def _point(choice: Choice, needed: Resources, answer: Forecast, board: Board, ddr: DdrTiming) -> Point:
    accelerator = choice.accelerator
    point = Point(choice, answer, needed, board.budget, ddr, 0.0)
    units = model().units(accelerator, family=board.system.fabric, uram=board.budget.uram > 0)
    whole = Layer("image", answer.activity, 1e3 * point.milliseconds * accelerator.clock_mhz)
    fabric, uram = board.system.fabric, bool(accelerator.ultra_ram)
    device = Device(name=board.part, luts=board.budget.lut, family=fabric, uram=uram)
    power = run_power(
        {unit: amount.to_dict() for unit, amount in units.items()},
        [whole],
        device,
        clock_mhz=accelerator.clock_mhz,
        beat_bytes=accelerator.stripe_bytes,
    )
    return dataclasses.replace(point, energy_mj=1e3 * power.joule / choice.batch)


def _shortage(estimates: Sequence[Resources], excess: Mapping[str, int], allowed: Mapping[str, float]) -> str:
    """Of what too much is needed: how many need it, and the least that any does; the worst kind first."""
    least = {kind: min(needed.to_dict()[kind] for needed in estimates) for kind in excess}
    worst = sorted(excess, key=lambda kind: (-excess[kind], -least[kind] / max(allowed[kind], 0.5)))
    parts = [
        f"{excess[kind]} of {len(estimates)} need too much {TITLES[kind]}"
        + (
            f" (at least {least[kind]:,}, where {allowed[kind]:,.0f} are allowed)"
            if least[kind] > allowed[kind]
            else ""
        )
        for kind in worst
    ]
    return "; ".join(parts)


def _affordable(
    choices: Sequence[Choice], board: Board, limit: float, stages: Stages
) -> list[tuple[Choice, Resources]]:
    """The configurations that the board has the resources for.

    Raises
    ------
    InputError
        If there is none: names the kind, and the least that any needs.
    """
    uram = board.budget.uram > 0
    allowed = {kind: amount * limit for kind, amount in board.budget.to_dict().items()}
    estimates = [estimate_resources(choice.accelerator, family=board.system.fabric, uram=uram) for choice in choices]
    excess: Counter[str] = Counter()
    result = []
    for choice, needed in zip(choices, estimates, strict=True):
        too_much = [kind for kind, amount in needed.to_dict().items() if amount > allowed[kind]]
        excess.update(too_much)
        if not too_much:
            result.append((choice, needed))
    if not result:
        raise InputError(
            f"space must have a configuration that fits {board.name}; {_shortage(estimates, excess, allowed)}"
        )
    stages.note(f"{len(result)} of {len(choices)} fit {board.name}")
    return result


def _possible(space: Space, board: Board, question: Question) -> tuple[list[Choice], Counter[str]]:
    refused: Counter[str] = Counter()
    choices = list(configurations(space, board, question.model, refused))
    if not choices:
        reason, count = refused.most_common(1)[0]
        raise InputError(
            f"space must have a configuration that is possible on {board.name}; {count} of {space.size} are not "
            f"because {reason}"
        )
    return choices, refused


def explore(
    question: Question,
    board: Board,
    space: Space,
    stages: Stages,
    *,
    limit: float = 1.0,
    workers: int | None = None,
    runner: Runner | None = None,
) -> Found:
    """Estimate every configuration and find the front.

    Parameters
    ----------
    question : Question
    board : Board
    space : Space
    stages : Stages
    limit : float
        Share of each resource that may be taken.
    workers, runner
        As in `explore_work.forecasts`.

    Raises
    ------
    InputError
        If nothing fits: says which constraint is to blame.
    """
    with stages.stage("resources", f"resources of {space.size:,} combinations"):
        choices, refused = _possible(space, board, question)
        affordable = _affordable(choices, board, limit, stages)
    answers = forecasts(question, [choice for choice, _ in affordable], stages, workers=workers, runner=runner)
    with stages.stage("energy", f"energy of {len(affordable):,} configurations"):
        points = [
            _point(choice, needed, answer, board, question.ddr(choice.accelerator.clock_mhz))
            for (choice, needed), answer in zip(affordable, answers, strict=True)
            if isinstance(answer, Forecast)
        ]
    too_small = Counter(answer for answer in answers if isinstance(answer, str))
    if not points:
        reason, _ = too_small.most_common(1)[0]
        raise InputError(
            f"space must have a configuration that holds {question.model.name}; none of {len(affordable)} does: "
            f"{reason}"
        )
    best = front(points)
    exploration = Exploration(
        model=question.model.name,
        task=question.task,
        blocks=question.blocks,
        board=board.name,
        ddr=DdrAssumed(
            question.latency, board.memory.bandwidth_gbs, IDEAL_MEMORY if question.memory is None else BOARD_MEMORY
        ),
        limit=limit,
        space=dict(space.axes),
        searched=Searched(space.size, len(choices), len(affordable), len(points)),
        refused=dict(refused),
        too_small=dict(too_small),
        front=tuple(front_point(number, point) for number, point in enumerate(best, start=1)),
        points=tuple(
            (
                round(point.milliseconds, 6),
                round(point.share, 4),
                round(point.energy_mj, 6),
                round(point.image_ms, 6),
            )
            for point in points
        ),
        energy_error=round(calibration().error, 4),
        wall_s=dict(stages.wall_s),
    )
    return Found(exploration, tuple(best))


def front_point(number: int, point: Point) -> FrontPoint:
    """A point of the front as it is kept."""
    return FrontPoint(
        number=number,
        file=f"{number}.toml",
        name=point.choice.accelerator.name,
        config=point.choice.accelerator,
        config_hash=point.choice.accelerator.hash,
        widths=point.choice.widths,
        speculate=AUTO_SPECULATION if point.choice.speculate is None else point.choice.speculate,
        batch=point.choice.batch,
        cycles=point.forecast.cycles,
        read_bytes=point.forecast.read_bytes,
        latency_ms=round(point.milliseconds, 6),
        image_ms=round(point.image_ms, 6),
        limit=point.limit,
        resources=point.resources,
        percent={kind: round(100 * share, 1) for kind, share in point.shares.items()},
        fullest=point.fullest,
        energy_mj=round(point.energy_mj, 6),
    )
