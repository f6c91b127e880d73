"""Several images, and several tasks of one image, in one program: every item as it is by itself."""

import dataclasses

import numpy as np
import pytest

from moesaic.boards.runtime import Accelerator
from moesaic.compiler.batch import Batch, Item
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.ir import CompileError, Graph
from moesaic.compiler.pipeline import compile_all
from moesaic.errors import InputError
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.sample_images import sample_images
from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import Function, Opcode
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.device import FunctionalTransport
from moesaic.sim.functional import FunctionalSimulator, ProgramError
from moesaic.sim.rtl import RtlRun

CONFIG = PRESETS["micro8"]
STALLS = [f"+stall_{channel}=40" for channel in ("ar", "r", "aw", "w", "b")]
BATCHES = (Batch(("depth",), 2), Batch(("semseg", "depth")))


@pytest.fixture(scope="module")
def images(micro: QuantModel) -> np.ndarray:
    """Two different ones."""
    return np.stack(sample_images(range(2), *micro.network.image.size_and_channels))


@pytest.fixture(scope="module")
def programs(micro: QuantModel) -> dict[Batch, ProgramImage]:
    return {batch: compile_all(micro, CONFIG, tasks=[batch]).image for batch in BATCHES}


def alone(micro: QuantModel, images: np.ndarray, batch: Batch) -> list[np.ndarray]:
    """Residuals [items * tokens, dim] after every block, item by item."""
    model = IntM3ViT.of(micro, CONFIG)
    items = [model.run(images[item.image], item.task) for item in batch.items]
    return [np.concatenate(blocks) for blocks in zip(*items, strict=True)]


@pytest.mark.parametrize("batch", BATCHES, ids=["images", "tasks"])
def test_every_item_is_what_it_is_alone(
    rig, micro: QuantModel, images: np.ndarray, programs: dict[Batch, ProgramImage], batch: Batch
) -> None:
    program, mine = programs[batch], images[: batch.images]
    expected = alone(micro, images, batch)
    simulator = FunctionalSimulator(CONFIG)
    simulator.load(program)
    run = simulator.run(batch.name, mine)
    (result,) = rig.run(program, [RtlRun(batch.name, image=mine)], seed=5, plusargs=STALLS)
    assert result.error is None and not result.violations["mask"]
    for number, block in enumerate(expected, 1):
        assert np.array_equal(simulator.tensor(run, number), block), f"functional, block {number - 1}"
        assert np.array_equal(result.marks[number], block), f"RTL, block {number - 1}"
    assert np.array_equal(result.output, expected[-1])
    assert np.array_equal(result.output, program.unpack_result(run.result, batch.name))


def test_weights_stream_once(micro: QuantModel) -> None:
    """All but the position embedding of further images, gates of further tasks, and the copy of the residual."""

    def read(batch: Batch) -> dict[str, int]:
        found: dict[str, int] = {}
        for op in compile_all(micro, CONFIG, tasks=[batch]).scheduled[batch.name].ops:
            if op.weights is not None and op.opcode is Opcode.MATMUL:
                found[op.weights] = found.get(op.weights, 0) + 1
        return found

    one, other, two, both = map(read, (Batch(("semseg",)), Batch(("depth",)), Batch(("semseg",), 2), BATCHES[1]))
    assert two == one
    again = {name for name, count in both.items() if count > 1}
    assert len(again) == 1 and both.keys() == one.keys() | other.keys()


def test_what_does_not_fit_is_refused(micro: QuantModel) -> None:
    with pytest.raises(CompileError, match=r"batch must be at most 2 of these images, not 3: .*residual memory"):
        compile_all(micro, CONFIG, tasks=[Batch(("semseg",), 3)])
    with pytest.raises(InputError, match="batch must be from 1 to 8 images, not 9"):
        Batch(("semseg",), 9)


def test_the_driver_runs_items(micro: QuantModel, images: np.ndarray, programs: dict[Batch, ProgramImage]) -> None:
    """Fewer images than a program computes are filled up, and their results left out."""
    for batch, count in ((BATCHES[0], 2), (BATCHES[0], 1), (BATCHES[1], 1)):
        expected = np.split(alone(micro, images, batch)[-1], len(batch.items))
        with Accelerator(FunctionalTransport(CONFIG), programs[batch]) as accelerator:
            found = accelerator.run_many(list(images[:count]), batch.name)
            assert (accelerator.batch, accelerator.together) == (batch.images, len(batch.tasks) > 1)
            with pytest.raises(InputError, match=r"images must be from 1 to \d, the batch of the program, not 3"):
                accelerator.run_many([images[0]] * 3, batch.name)
        wanted = [number for number, item in enumerate(batch.items) if item.image < count]
        assert [Item(p.image, p.task) for p in found] == [batch.items[number] for number in wanted]
        for prediction, number in zip(found, wanted, strict=True):
            assert np.array_equal(prediction.tokens, expected[number])


def test_instructions_of_two_tasks(micro: QuantModel) -> None:
    """Both routers of a mixture fill its queues; one projection is done twice, first into the copy."""
    graph: Graph = compile_all(micro, CONFIG, tasks=[BATCHES[1]]).scheduled["all"]
    routes = [op for op in graph.ops if op.opcode is Opcode.MATMUL and op.function is Function.ROUTE]
    assert [op.fields.get("append", 0) for op in routes] == [0, 1] * (len(routes) // 2)
    copies = [index for index, op in enumerate(graph.ops) if op.moved]
    assert len(copies) == 1
    copy, original = graph.ops[copies[0]], graph.ops[copies[0] + 1]
    assert copy.weights == original.weights and copy.fields["fresh"] and not original.moved


def test_a_copy_onto_itself_is_refused(micro: QuantModel, images: np.ndarray) -> None:
    compilation = compile_all(micro, CONFIG, tasks=[BATCHES[1]])
    graph = compilation.scheduled["all"]
    index = next(index for index, op in enumerate(graph.ops) if op.moved)
    simulator = FunctionalSimulator(CONFIG)
    simulator.load(compilation.image)
    entry = compilation.image.task("all")["compute"]
    address = entry["address"] + index * isa.INSTRUCTION_BYTES
    opcode, fields = isa.decode(simulator.read(address, isa.INSTRUCTION_BYTES))
    fields.pop("opcode", None)
    simulator.write(address, isa.encode(opcode, {**fields, "scalar": 1}))
    with pytest.raises(ProgramError, match="old residual, where it lies elsewhere, must not be overwritten"):
        simulator.run("all", images[:1])


def test_images_must_be_as_many_as_a_run_takes(programs: dict[Batch, ProgramImage], images: np.ndarray) -> None:
    with pytest.raises(InputError, match="images must be as many as the program was compiled for, 2, not 1"):
        programs[BATCHES[0]].image_parts(images[0])
    assert dataclasses.asdict(programs[BATCHES[0]].items("depth")[1]) == {"image": 1, "task": "depth"}
