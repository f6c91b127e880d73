"""A run lowers each of its tasks once: what follows asks the graphs that the program was made from."""

from collections import Counter
from pathlib import Path

import pytest

from moesaic import job
from moesaic.compiler import pipeline
from moesaic.compiler.batch import Batch
from moesaic.compiler.ir import Graph
from moesaic.flow.program import load_program
from moesaic.flow.request import make_request
from moesaic.flow.run import Options
from moesaic.flow.stages import Stages
from moesaic.golden.qmodel import QuantModel

Seen = Counter[tuple[str, str, bool]]


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Calls of `lower`: network, task, and whether it is one of zeros, whose sizes alone are asked for."""
    seen: Seen = Counter()
    lower = pipeline.lower

    def counted(qmodel: QuantModel, batch: Batch, *arguments: object, **more: object) -> Graph:
        seen[qmodel.network.name, batch.name, not qmodel.position.any()] += 1
        return lower(qmodel, batch, *arguments, **more)

    monkeypatch.setattr(pipeline, "lower", counted)
    return seen


def test_each_task_is_lowered_once(lowered: Seen, tmp_path: Path) -> None:
    stages, options = Stages(quiet=True), Options(out=tmp_path / "out", rtl=False)
    report = job.run(make_request(model="m3vit-micro", task="all"), options, stages)
    assert report.bit_exact and report.first.energy is not None and report.first.worst_case and report.peers
    tasks = {("m3vit-micro", task, False): 1 for task in ("semseg", "depth")}
    # Other programs: whether the sizes fit, before there are weights. Peers are refused by `check`, before lowering;
    # the variants of an ablation and the configurations of an exploration are programs of their own too.
    assert lowered == {**tasks, ("m3vit-micro", "semseg", True): 1}
    lowered.clear()
    program = load_program(tmp_path / "out" / "program", stages)
    job.simulate(program, Options(out=tmp_path / "again", rtl=False), stages)
    assert lowered == tasks
