"""What simulates the RTL on workers: the same results as in one process."""

from dataclasses import replace
from pathlib import Path

import pytest

from moesaic.boards.board import load_board
from moesaic.boards.resources import Resources
from moesaic.compiler.memory import IDEAL
from moesaic.flow import ablate as ablation
from moesaic.flow.cluster.runner import DaskRunner
from moesaic.flow.exploration import Exploration
from moesaic.flow.explore import Found, Point, explore, front_point
from moesaic.flow.explore_confirm import confirm_front
from moesaic.flow.explore_space import Choice, Space, default_space
from moesaic.flow.explore_work import Question
from moesaic.flow.forecast import forecast, whole_graph
from moesaic.flow.program import make_program
from moesaic.flow.request import Request, make_request
from moesaic.flow.runner import open_runner
from moesaic.flow.stages import Stages
from moesaic.flow.sweep import Point as Height
from moesaic.flow.sweep import sweep_rows
from moesaic.flow.tasks import InProcess, Runner
from moesaic.golden.hollow import hollow_model
from moesaic.golden.sample_images import sample_images

QUIET = Stages(quiet=True)
VARIANTS = ("all", "no_attention_reordering")


def lone(request: Request) -> tuple[Found, Question]:
    """An exploration whose front is the accelerator of a request."""
    board = load_board("pynq-z2")
    question = Question(request.model, "semseg", request.blocks, 100)
    axes = {"rows": (8,), "lanes": (8,), "load_rows": (2,), "ports": (1,), "port_bits": (64,), "activation_kib": (32,)}
    space = Space({**default_space(board).axes, **axes, "prefetch_kib": (64,)})
    explored = explore(question, board, space, QUIET, workers=1).exploration
    graph = whole_graph(hollow_model(request.model), request.accelerator, "semseg", blocks=request.blocks)
    expected = forecast(graph, request.accelerator)
    point = Point(Choice(request.accelerator), expected, Resources(lut=1), board.budget, IDEAL, 1.0)
    return Found(replace(explored, front=(front_point(1, point),)), (point,)), question


def test_what_runs_on_the_rtl_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`explore --confirm`, `sweep-rows` and `ablate`: the simulator is that of other tests, found in the cache."""
    request = make_request(model="m3vit-micro", board="micro8", task="semseg", blocks=1)
    found, question = lone(request)
    program = make_program(request, QUIET)[0]
    image = sample_images([3], *request.model.image.size_and_channels)[0]
    few = tuple(variant for variant in ablation.VARIANTS if variant.name in VARIANTS)
    monkeypatch.setattr(ablation, "VARIANTS", few)

    def results(runner: Runner) -> tuple[Exploration, list[Height], ablation.Ablation]:
        return (
            confirm_front(request, found, 1, QUIET, lambda now: None, question, runner=runner),
            sweep_rows(request, [8], tmp_path, QUIET, runner=runner),
            ablation.ablate(program, image, "semseg", QUIET, runner=runner),
        )

    wanted = results(InProcess())
    with open_runner("local:2", QUIET) as runner:
        assert isinstance(runner, DaskRunner)
        got = results(runner)
    assert got == wanted
    explored, points, variants = got
    (entry,) = explored.front
    assert entry.confirmed is not None and entry.confirmed.bit_exact
    assert [point.bit_exact for point in points] == [True]
    assert [row.name for row in variants.variants] == [*VARIANTS]
    assert all(row.bit_exact and row.cycles for row in variants.variants)
