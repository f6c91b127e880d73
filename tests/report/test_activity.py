"""Activity and toggles of a report: every word and every bit, against the functional simulator's."""

from typing import Any

import pytest
from watch import Watch

from moesaic.energy.activity import program_activity, total
from moesaic.flow.model_cycles import task_model
from moesaic.flow.program import make_program
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden.image_io import read_image
from moesaic.sim.functional import FunctionalSimulator

Result = Any  # of conftest.py


def test_activity_and_toggles(measured: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words, bits and toggles of both tasks of m3vit-micro, the test bench's counters included, to the last one."""
    program = make_program(make_request(model="m3vit-micro", task="all"), Stages(quiet=True))[0]
    config = program.image.config
    assert config.rows == config.lanes  # where a vector of results is a word of a memory
    functional = FunctionalSimulator(config)
    functional.load(program.image)
    scene = read_image(measured.folder / "input.png", program.request.model.image_size)
    watch = Watch(config)
    for task, entry in measured.report["tasks"].items():
        before = watch.toggles.copy()
        watch.bits.clear()
        watch.work.clear()
        with watch.watching(monkeypatch):
            functional.run(task, scene)
        toggled = watch.toggles - before

        model, routing = task_model(program, task), entry["tokens_per_expert"]
        done = total(program_activity(model.graph, model.costs(routing), model.tokens(routing), config))
        assert (done.vectors, done.normalised, done.results, done.routed) == tuple(
            watch.work[name] for name in ("vectors", "normalised", "results", "routed"))
        assert (done.activation_bits, done.residual_bits, done.kv_bits) == tuple(
            watch.bits[name] for name in ("activation", "residual", "key/value"))
        # Every sum is written once, and read once: for the next block of inputs, or as a result.
        assert done.accumulator_bits == 2 * entry["counters"]["array_busy"] * config.rows * config.acc_bits
        assert done.prefetch_bits == 2 * 8 * entry["counters"]["weight_bytes"] == 2 * watch.work["beats"] * config.port_bits

        read = config.lanes * (8 * (done.vectors - done.normalised) + 16 * done.normalised)
        share = entry["energy"]["toggles"]
        beats = sum(toggled[f"port {port}"] for port in range(config.ports))
        assert share["weights"] == pytest.approx(beats / (watch.work["beats"] * config.port_bits), abs=1e-5)
        assert share["vectors"] == pytest.approx((toggled["activation"] + toggled["residual"]) / read, abs=1e-5)
