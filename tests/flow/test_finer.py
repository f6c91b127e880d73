"""Layers that get more bits: which ones, at which cost, and that a program keeps what was chosen."""

from pathlib import Path

import numpy as np
import pytest
import torch

from moesaic.errors import InputError
from moesaic.flow import finer
from moesaic.flow.calibration import Calibration
from moesaic.flow.finer import choose_finer
from moesaic.flow.program import load_program, make_program, save_program
from moesaic.flow.request import Request, make_request
from moesaic.flow.stages import Stages
from moesaic.golden import weights
from moesaic.golden.evaluation.propagated import Propagated, least_db
from moesaic.golden.finer import FinerLayer
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import prepared
from moesaic.golden.training.scenes import render_batch

torch.set_num_threads(1)

SIZE = (64, 64)
SEEN = Calibration(render_batch(range(1000, 1002), SIZE)[0], "", render_batch(range(6), SIZE)[0], "")


@pytest.fixture(scope="module")
def model() -> M3ViT:
    return weights.load("m3vit-micro", 0)[0]


@pytest.fixture(scope="module")
def noise(model: M3ViT, micro: QuantModel) -> Propagated:
    return Propagated(prepared(model, SEEN.images), micro, SEEN.unseen)


def chosen(model: M3ViT, qmodel: QuantModel, request: Request) -> dict[str, FinerLayer]:
    rows = choose_finer(model, request, qmodel, SEEN, note=lambda text: None)
    return {row.name: row for row in rows}


def test_a_target_is_reached_by_what_it_takes(model: M3ViT, micro: QuantModel, noise: Propagated) -> None:
    first = least_db(noise.of())
    target = first + 1
    rows = chosen(model, micro, make_request(model="m3vit-micro", board="zcu102-wide", target_db=target))
    ways = {name: row.finer for name, row in rows.items()}
    *_, last = rows.values()
    assert last.sqnr_db == pytest.approx(least_db(noise.of(ways)), abs=0.01) and last.sqnr_db >= target
    assert sum(row.gained_db for row in rows.values()) == pytest.approx(last.sqnr_db - first)
    assert all(row.cycles >= 0 for row in rows.values())
    for name in rows:  # nothing of it is superfluous
        assert least_db(noise.of({other: how for other, how in ways.items() if other != name})) < target


def test_a_budget_is_kept(model: M3ViT, micro: QuantModel) -> None:
    found = []
    for budget in (0, 2_000):
        rows = chosen(model, micro, make_request(model="m3vit-micro", board="zcu102", budget=budget))
        assert sum(row.cycles for row in rows.values()) <= budget
        assert {row.finer for row in rows.values()} <= {"planes"}  # zcu102 has no wide operands
        found.append(sum(row.gained_db for row in rows.values()))
    assert found[0] == 0 and found[1] >= 0


def test_what_cannot_be_reached(model: M3ViT, micro: QuantModel) -> None:
    with pytest.raises(
        InputError, match=r"target_db must be at most \d+.\d for m3vit-micro on zcu102, which has no wide"
    ):
        chosen(model, micro, make_request(model="m3vit-micro", board="zcu102", target_db=60))
    with pytest.raises(InputError, match="target_db must be from 0 to 100 decibels, not -1"):
        make_request(model="m3vit-micro", target_db=-1)
    with pytest.raises(InputError, match="budget must be 0 cycles or more, not -5"):
        make_request(model="m3vit-micro", budget=-5)
    with pytest.raises(InputError, match="must be left out with widths 'w16a16'"):
        make_request(model="m3vit-micro", widths="w16a16", budget=5)


def test_noise_of_a_layer_alone(model: M3ViT, noise: Propagated) -> None:
    """It is nothing before its block, less than all together behind it, and more with more roundings."""
    whole, reading, everything = (
        noise.of(),
        noise.alone("blocks.2.mlp", "planes"),
        noise.alone("blocks.2.mlp", "wide"),
    )
    assert not reading[:, :2].any() and (reading[:, 2:] > 0).all()
    assert (reading[:, 2] < everything[:, 2]).all() and (everything[:, 2] < whole[:, 2]).all()
    assert np.array_equal(noise.of(), whole)


def test_a_program_keeps_its_widths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finer, "_TOKENS", 130)
    stages = Stages(quiet=True)
    request = make_request(model="m3vit-micro", task="depth", board="zcu102-wide", blocks=2, budget=20_000)
    assert request.name == "m3vit-micro-depth-zcu102-wide-20000-cycles"
    program, _ = make_program(request, stages, cache=tmp_path)
    assert program.finer and program.qmodel.finer == {row.name: row.finer for row in program.finer}
    plain, _ = make_program(request.replace(budget=None), stages, cache=tmp_path)
    added = program.estimate["depth"] - plain.estimate["depth"]
    assert added == pytest.approx(sum(row.cycles for row in program.finer), rel=0.02)
    (tmp_path / "program").mkdir()
    save_program(program, tmp_path / "program")
    again = load_program(tmp_path / "program", stages)
    assert (again.finer, again.qmodel.finer, again.request.budget) == (program.finer, program.qmodel.finer, 20_000)
    again, _ = make_program(request, stages, cache=tmp_path)
    assert again.finer == program.finer
