"""`--rms-norm` from a request to a program folder and back."""

from pathlib import Path

import numpy as np

from moesaic.flow.program import load_program, make_program, save_program
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.hw.spec.isa import Opcode


def test_a_program_says_that_its_norms_subtract_nothing(tmp_path: Path) -> None:
    stages = Stages(quiet=True)
    request = make_request(model="m3vit-micro", recentre=True, blocks=2)
    usual = make_request(model="m3vit-micro", blocks=2)
    assert request.name == f"{usual.name}-rms" and request.model != usual.model
    program, _ = make_program(request, stages)
    norms = [op for op in program.graphs[request.tasks[0]].ops if op.opcode is Opcode.NORM]
    assert norms and all(op.fields["rms"] for op in norms)
    folder = tmp_path / "program"
    folder.mkdir()
    save_program(program, folder)
    again = load_program(folder, stages)
    assert again.request.recentre and again.request.model == request.model
    image = np.random.default_rng(1).integers(0, 256, (3, *request.model.image_size), dtype=np.uint8)
    (task,) = request.tasks
    outputs = [
        IntM3ViT(q, 8).run(image, task) for q in (program.qmodel, again.qmodel, make_program(usual, stages)[0].qmodel)
    ]
    assert np.array_equal(outputs[0][1], outputs[1][1]) and not np.array_equal(outputs[0][1], outputs[2][1])
