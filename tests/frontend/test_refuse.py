"""What cannot be captured is refused, with the line of the user's code and the nearest supported thing."""

import inspect
import re
from pathlib import Path

import pytest
import torch
import zoo
from refused import CASES
from torch import nn
from zoo import DIM, HEADS

from moesaic.golden.frontend import capture as module_of_capture
from moesaic.golden.frontend.capture import CaptureError, capture
from moesaic.golden.frontend.prove import random_image


@pytest.mark.parametrize("name", CASES)
def test_refused_by_line(name):
    make, words, code = CASES[name]
    with pytest.raises(CaptureError) as caught:
        capture(make(), zoo.image())
    text = str(caught.value)
    for word in (*words, "nearest supported: ", " must "):
        assert word in text, text
    if code:
        file, number = re.search(r"at (\S+\.py):(\d+)", text).groups()
        lines = Path(file).read_text().splitlines()
        assert code in lines[int(number) - 1], text


def changed(**changes):
    """`capture` with a function of its module replaced: a match that is wrong on purpose."""

    def patch(monkeypatch):
        for name, make in changes.items():
            monkeypatch.setattr(module_of_capture, name, make(getattr(module_of_capture, name)))

    return patch


@pytest.mark.parametrize(
    "parameter", ["blocks.1.mlp.fc2.bias", "blocks.0.attn.qkv.weight", "pos_embed", "blocks.0.norm1.weight"]
)
def test_a_match_that_computes_something_else_is_refused(monkeypatch, parameter):
    """One parameter that the match gets a little wrong is seen in the proof."""

    def wrong(assemble):
        def assembled(*args, **kwargs):
            result = assemble(*args, **kwargs)
            result.state[parameter].view(-1)[3] += 2e-3
            return result

        return assembled

    changed(assemble=wrong)(monkeypatch)
    with pytest.raises(
        CaptureError, match="must compute what the module computes, not something else: output 0 differs by"
    ):
        capture(zoo.vit(depth=2), zoo.image())


def test_training_mode():
    model = zoo.vit(depth=2)
    model.blocks[1].drop.train()
    with pytest.raises(CaptureError, match=r"not in training mode \(blocks.1.drop\)\ncall model.eval\(\)"):
        capture(model, zoo.image())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_parameters_that_are_no_numbers(value):
    model = zoo.vit(depth=2)
    with torch.no_grad():
        model.blocks[1].attention.qkv.weight[2, 3] = value
        model.embed.cls[0, 0, 1] = value
    with pytest.raises(
        CaptureError, match=r"finite.*embed.cls \(1 values\), blocks.1.attention.qkv.weight \(1 values\)"
    ):
        capture(model, zoo.image())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_converted_and_said(kind):
    captured = capture(zoo.vit().to(kind), zoo.image().to(kind))
    assert any(f"converted to float32: parameters of {kind}" in note for note in captured.notes)
    assert all(tensor.dtype == torch.float32 for tensor in captured.state.values())


@pytest.mark.parametrize("kind", [torch.float16, torch.int64])
def test_a_cast_inside(kind):
    class Cast(zoo.Mlp):
        def forward(self, x):
            return super().forward(x.to(kind).to(x.dtype))

    with pytest.raises(CaptureError, match=f"cast to {kind}"):
        capture(zoo.vit(mlp=lambda: Cast(DIM)), zoo.image())


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (torch.zeros(2, 3, 16, 16), "batches are one"),
        (torch.zeros(3, 16, 16), "must be a tensor"),
        ("cat.png", "not str"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.int64), "uint8 or floating point"),
        (torch.zeros(1, 3, 16, 20), "multiples of the patch"),
        (torch.zeros(1, 4, 16, 16), "torch.export must be able to trace"),
    ],
    ids=["batch", "no batch", "text", "integers", "size", "channels"],
)
def test_examples(example, words):
    with pytest.raises(CaptureError, match=words):
        capture(zoo.vit(), example)


def test_things_that_are_no_module():
    with pytest.raises(CaptureError, match="must be an nn.Module, not dict"):
        capture({}, zoo.image())
    sizes = ({0: torch.export.Dim("batch", max=8)},)
    exported = torch.export.export(
        zoo.seeded(nn.Sequential(nn.Flatten(), nn.Linear(768, 4))),
        (zoo.image().expand(2, -1, -1, -1),),
        dynamic_shapes=sizes,
    )
    with pytest.raises(CaptureError, match="must be an nn.Module, not ExportedProgram"):
        capture(exported, zoo.image())
    with torch.device("meta"):
        model = zoo.Vit(zoo.Conv(), nn.Identity()).eval()
    with pytest.raises(CaptureError, match="must be in memory, not on the meta device"):
        capture(model, zoo.image())


def test_bytes_in():
    captured = capture(zoo.vit(embed=zoo.Bytes()), zoo.image().to(torch.uint8))
    assert captured.network.image.pixel_mean == pytest.approx((0.5, 0.5, 0.5))
    assert captured.network.image.pixel_std == pytest.approx((0.25, 0.25, 0.25))
    assert random_image(zoo.image().to(torch.uint8), 1).dtype == torch.uint8


def test_a_head_that_reads_an_earlier_block():
    class Skip(zoo.Vit):
        def forward(self, x):
            first = self.blocks[0](self.embed(x))
            return self.blocks[1](first).mean(1) * first.mean(1)

    blocks = nn.Sequential(*(zoo.Block(zoo.Fused(DIM, HEADS), zoo.Mlp(DIM)) for _ in range(2)))
    with pytest.raises(CaptureError) as caught:
        capture(zoo.seeded(Skip(zoo.Conv(), blocks)), zoo.image())
    number = inspect.getsourcelines(Skip.forward)[1] + 2
    assert "must need nothing but its tokens" in str(caught.value) and f"test_refuse.py:{number}" in str(caught.value)
