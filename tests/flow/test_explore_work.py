"""Forecasts of many configurations: the same wherever and however they are computed."""

import dataclasses
from collections import Counter

from moesaic.boards.board import load_board
from moesaic.flow.explore_space import Space, configurations, default_space
from moesaic.flow.explore_work import Question, forecasts
from moesaic.flow.forecast import Forecast, forecast, whole_graph
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import InProcess
from moesaic.golden.config import PRESETS as MODELS
from moesaic.golden.config import network_of
from moesaic.golden.hollow import hollow_model

BOARD, MICRO = load_board("pynq-z2"), network_of(MODELS["m3vit-micro"])
ASKED = Question(MICRO, "semseg", 2, 100)
SMALL = {
    "rows": (8, 16),
    "lanes": (8, 16),
    "load_rows": (2, 4),
    "ports": (1, 2),
    "port_bits": (64,),
    "prefetch_kib": (32, 64),
    "activation_kib": (8, 32),
}


class Told(Stages):
    """Stages that remember their notes."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self.notes = list[str]()

    def note(self, text: str) -> None:
        self.notes.append(text)


def space(**axes: tuple) -> Space:
    return Space({**default_space(BOARD).axes, **SMALL, **axes})


def test_two_processes_say_what_one_says() -> None:
    choices = list(configurations(space(prefetch_kib=(64,)), BOARD, MICRO, Counter()))
    assert len(choices) > 12
    told = Told(quiet=True)
    one = forecasts(ASKED, choices, told, workers=1)
    two = forecasts(ASKED, choices, Stages(quiet=True), workers=2)
    steps = [int(note.split(" of ")[0]) for note in told.notes]
    assert one == two and steps == sorted(steps) and steps[-1] == len(choices)


def test_a_worker_answers_one_question_after_another() -> None:
    """As a cluster's workers do, each of which keeps what it made for the last one."""
    choices = list(configurations(space(prefetch_kib=(64,)), BOARD, MICRO, Counter()))[:3]
    slow = dataclasses.replace(ASKED, latency=5000)
    for asked in (ASKED, slow, ASKED):
        wanted = forecasts(asked, choices, Stages(quiet=True), workers=1)
        assert forecasts(asked, choices, Stages(quiet=True), runner=InProcess()) == wanted


def test_shared_shapes_change_nothing() -> None:
    """What is compiled once for many is what each would get by itself."""
    choices = list(
        configurations(space(rows=(8,), load_rows=(2,), ports=(1, 2), clock_mhz=(50.0, 100.0)), BOARD, MICRO, Counter())
    )
    answers = forecasts(ASKED, choices, Stages(quiet=True), workers=1)
    hollow = hollow_model(MICRO)
    assert len({answer.cycles for answer in answers if isinstance(answer, Forecast)}) > 3
    for choice, answer in zip(choices, answers, strict=True):
        assert answer == forecast(whole_graph(hollow, choice.accelerator, "semseg", blocks=2), choice.accelerator), (
            choice.accelerator.name
        )
