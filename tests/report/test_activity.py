"""Activity and toggles of a report: every word and every bit, against the functional simulator's."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from watch import Watch

from moesaic import job
from moesaic.energy.activity import program_activity, total
from moesaic.flow.model_cycles import task_model
from moesaic.flow.program import Program, make_program
from moesaic.flow.request import make_request
from moesaic.flow.run import Options
from moesaic.flow.stages import Stages
from moesaic.golden.image_io import read_image
from moesaic.report.stored import plain_report
from moesaic.sim.functional import FunctionalSimulator

Result = Any  # of conftest.py


def check(program: Program, entry: dict[str, Any], task: str, watch: Watch) -> None:
    """What the energy of a task is made of equals what was watched, and the RTL's counters."""
    config, counters = program.image.config, entry["counters"]
    model, routing = task_model(program, task), entry["tokens_per_expert"]
    done = total(program_activity(model.graph, model.costs(routing), model.tokens(routing), config))
    assert (done.vectors, done.normalised, done.results, done.routed) == tuple(
        watch.work[name] for name in ("vectors", "normalised", "results", "routed")
    )
    assert (done.vectors, done.stationary_words) == (counters["array_busy"], counters["stationary_words_read"])
    halves = 1 + config.wide_operands
    keys = watch.bits["key/value"] + 8 * config.lanes * counters["stationary_words_read"]
    assert (done.activation_bits, done.residual_bits, done.kv_bits) == (
        halves * watch.bits["activation"],
        watch.bits["residual"],
        halves * keys,
    )
    # Every sum is written once, and read once: for the next block of inputs, or as a result.
    assert done.accumulator_bits == 2 * counters["array_busy"] * config.rows * config.acc_bits
    assert done.prefetch_bits == 2 * 8 * counters["weight_bytes"] == 2 * watch.work["beats"] * config.port_bits


def watched(
    program: Program, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Watch, Counter[str]]]:
    """The tasks of a result one after the other: what moved in each, and what toggled."""
    config = program.image.config
    assert config.rows == config.lanes  # where a vector of results is a word of a memory
    functional, watch = FunctionalSimulator(config), Watch(config)
    functional.load(program.image)
    scene = read_image(folder / "input.png", program.request.model.image_size)
    for task in program.image.tasks:
        before = watch.toggles.copy()
        watch.bits.clear()
        watch.work.clear()
        with watch.watching(monkeypatch):
            functional.run(task, scene)
        yield task, watch, watch.toggles - before


def test_activity_and_toggles(measured: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words, bits and toggles of both tasks of m3vit-micro, the test bench's counters included, to the last one."""
    program = make_program(make_request(model="m3vit-micro", task="all"), Stages(quiet=True))[0]
    config = program.image.config
    for task, watch, toggled in watched(program, measured.folder, monkeypatch):
        entry = measured.report["tasks"][task]
        check(program, entry, task, watch)
        normalised = watch.work["normalised"]
        read = config.lanes * (8 * (watch.work["vectors"] - normalised) + 16 * normalised)
        beats = sum(toggled[f"port {port}"] for port in range(config.ports))
        share = entry["energy"]["toggles"]
        assert share["weights"] == pytest.approx(beats / (watch.work["beats"] * config.port_bits), abs=1e-5)
        assert share["vectors"] == pytest.approx((toggled["activation"] + toggled["residual"]) / read, abs=1e-5)


def test_activity_and_cycles_of_wide_operands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks with 16 bits: the same, and the analytic model's cycles."""
    request, folder = make_request(model="m3vit-micro", blocks=2, widths="w16a16"), tmp_path / "out"
    report = job.run(request, Options(out=folder), Stages(quiet=True))
    program = make_program(request, Stages(quiet=True))[0]
    for task, watch, _ in watched(program, folder, monkeypatch):
        entry = plain_report(report)["tasks"][task]
        check(program, entry, task, watch)
        assert all(abs(part["error"]) < 0.02 for part in entry["model_cycles"].values())
        assert abs(entry["model_cycles"]["image"]["error"]) < 0.001
