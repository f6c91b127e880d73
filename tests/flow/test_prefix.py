"""Sub-networks by prefix: several widths of hidden layers from one set of integers."""

from pathlib import Path

import all_different
import numpy as np
import pytest
import torch
from all_different import SIDE
from unlike import STALLS

from moesaic.compiler.pipeline import compile_model
from moesaic.errors import InputError
from moesaic.flow.program import load_program, make_program, save_program
from moesaic.flow.quantised import load_float
from moesaic.flow.request import Request, make_request
from moesaic.flow.stages import Stages
from moesaic.golden.belonging import check_belonging
from moesaic.golden.evaluation.metrics import sqnr_db
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.prefix import narrow_model, narrow_network, narrow_quantised
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlRun

IMAGE = np.random.default_rng(5).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
EACH = "40,20,0.5,100,28"  # of 72, 20, 56, 128 and, of the same matrices as the third, 56


def asked(hidden: str | None = None, **options: object) -> Request:
    return make_request(model=f"{all_different.__file__}:net", board="micro8", hidden=hidden, **options)


@pytest.fixture(scope="module")
def whole() -> tuple[Request, torch.nn.Module, QuantModel]:
    request = asked()
    model = load_float(request).model
    images = np.random.default_rng(6).integers(0, 256, (4, 3, SIDE, SIDE), dtype=np.uint8)
    return request, model, quantize(model, images, weights="imported", compensate=False)


def units(model: QuantModel) -> list[int | None]:
    return [node.sizes.units for node in model.network.layers if node.sizes.units is not None]


@pytest.mark.parametrize(("hidden", "found"), [("0.25", [18, 5, 14, 32, 14]), (EACH, [40, 20, 28, 100, 28])])
def test_the_first_hidden_units_from_the_same_integers(whole, hidden: str, found: list[int]) -> None:
    request, model, qmodel = whole
    network = narrow_network(request.model, hidden)
    narrow, less = narrow_model(model, network), narrow_quantised(qmodel, network)
    assert units(less) == found
    check_belonging(narrow, less)
    for ours, all_of_it in zip(less.matrices(), qmodel.matrices(), strict=True):
        rows, columns = ours.linear.weight.shape
        assert ours.shape == (rows, columns)
        assert np.array_equal(ours.linear.weight, all_of_it.linear.weight[:rows, :columns])
    third, fifth = less.blocks[2].layers[1].experts[0].fc2, less.blocks[4].layers[1].experts[0].fc2
    assert third.weight is fifth.weight  # shared as before
    (task,), simulator = network.tasks, FunctionalSimulator(PRESETS["micro8"], seed=1)
    simulator.load(compile_model(less, PRESETS["micro8"]))
    run, golden = simulator.run(task, IMAGE), IntM3ViT(less, 8).run(IMAGE, task)
    with torch.no_grad():
        wanted = narrow(IMAGE, task)
    for number, (block, theirs) in enumerate(zip(golden, wanted, strict=True)):
        assert np.array_equal(simulator.tensor(run, number + 1), block)
        assert sqnr_db(theirs.numpy(), block * less.blocks[number].residual_step) > 26


def test_whole_on_the_rtl(rig, whole) -> None:
    request, _, qmodel = whole
    less = narrow_quantised(qmodel, narrow_network(request.model, EACH))
    (task,) = less.network.tasks
    (result,) = rig.run(compile_model(less, rig.config), [RtlRun(task, image=IMAGE)], seed=3, plusargs=STALLS)
    rig.check(less, result, IMAGE, task)


def test_one_file_for_all_widths(tmp_path: Path) -> None:
    """Compiled, kept, read back and compared with float; quantised once."""
    digests = set()
    for number, hidden in enumerate(("0.5", "0.25", None)):
        request = asked(hidden)
        program, _ = make_program(request, Stages(quiet=True), cache=tmp_path / "cache")
        assert program.belonging is not None and program.image.network == request.model
        save_program(program, tmp_path / str(number))
        again = load_program(tmp_path / str(number), Stages(quiet=True), model=f"{all_different.__file__}:net")
        assert again.request.hidden == hidden and again.network.model.network == request.model
        digests.add(again.network.digest)
    assert len(digests) == 1 and len(list((tmp_path / "cache" / "networks").glob("[!.]*"))) == 1
    assert asked("0.5").name == "net-output-micro8-hidden-0.5"


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        ("80", "hidden units of 'blocks.0.mlp' must be from 1 to the 72 of its weights, not '80'"),
        ("1.5", "of 'blocks.0.mlp' must be from 1 to the 72 of its weights, not '1.5'"),
        ("0", "from 1 to the 72 of its weights, not '0'"),
        ("0.5,0.5", "one for each of blocks.0.mlp, blocks.1.mlp, blocks.2.mlp, blocks.3.mlp, blocks.4.mlp, not 2"),
        ("40,20,28,100,30", "hidden must be 28, not 30, as of 'blocks.2.mlp', whose matrices it uses"),
        ("half", "hidden must be numbers of units or fractions such as 0.5, not 'half'"),
        ("1.e999", "from 1 to the 72 of its weights, not '1.e999'"),
    ],
)
def test_what_the_weights_do_not_have_is_refused(hidden: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        narrow_network(asked().model, hidden)
    assert "\n" not in str(caught.value)
