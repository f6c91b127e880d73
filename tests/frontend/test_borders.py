"""Modules in every state that torch knows: they work, or are refused in one line that says what to do."""

import copy
import math
import warnings

import pytest
import torch
import zoo
from torch import nn
from torch.nn.utils import prune

from moesaic.errors import InputError
from moesaic.golden.frontend.capture import CaptureError, capture
from moesaic.golden.frontend.prove import difference
from moesaic.golden.frontend.source import open_function
from moesaic.golden.importers.options import ImportOptions


class Extra(zoo.Vit):
    """Keeps something in its state dict that is no tensor."""

    def get_extra_state(self):
        return {"version": 2}

    def set_extra_state(self, state):
        pass


class Held(nn.Module):
    """Holds what `copy.deepcopy` cannot copy."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.held = inner.eval(), (i for i in range(3))
        self.eval()

    def forward(self, x):
        return self.inner(x)


class InPlace(zoo.Vit):
    def forward(self, x):
        return super().forward(x.sub_(0.4).div_(0.3))


class Counting(zoo.Vit):
    def forward(self, x):
        self.seen += 1
        return super().forward(x)


def of(kind):
    return zoo.seeded(kind(zoo.Conv(), nn.Sequential(zoo.Block(zoo.Fused(zoo.DIM, zoo.HEADS), zoo.Mlp(zoo.DIM)))))


def inference():
    with torch.inference_mode():
        return zoo.vit()


def non_leaf_half():
    model = zoo.vit()
    model.cached = model.embed.cls * 2
    return model.half()


def pruned():
    model = zoo.vit()
    prune.l1_unstructured(model.blocks[0].mlp.up, "weight", 0.3)
    return model.bfloat16()


def unused(value):
    model = zoo.vit()
    model.register_buffer("unused", value)
    model.spare = nn.Parameter(torch.full((2,), torch.nan))
    return model


def counting():
    model = of(Counting)
    model.register_buffer("seen", torch.zeros((), dtype=torch.long))
    return model


WORK = {
    "tensors of inference mode": inference,
    "a result of a computation, half": non_leaf_half,
    "pruned, bfloat16": pruned,
    "extra state": lambda: of(Extra),
    "double": lambda: zoo.vit().double(),
    "compiled": lambda: torch.compile(zoo.vit()),
    "parallel": lambda: nn.DataParallel(zoo.vit()).eval(),
    "what cannot be copied": lambda: Held(zoo.vit()),
    "its input changed": lambda: of(InPlace),
    "its buffer changed": counting,
    "a NaN that nothing uses": lambda: unused(torch.tensor([1.0, torch.nan])),
    "an infinity that nothing uses": lambda: unused(torch.tensor(-torch.inf)),
}


@pytest.mark.parametrize("name", WORK)
def test_works(name):
    module, x = WORK[name](), torch.rand(1, 3, zoo.SIDE, zoo.SIDE, generator=torch.Generator().manual_seed(5))
    captured = capture(module, zoo.image())
    with torch.no_grad():
        wanted = (module.float() if name != "tensors of inference mode" else module)(x.clone())
        unit = x * 0.5 + 0.5 if captured.normalised else x
        got = captured.heads["output"](captured.model()(unit, 0)[-1][0])[0]
    assert difference(got, wanted) < 1e-4


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(zoo.vit(), {nn.Linear}, dtype=torch.qint8).eval()


def in_training_for_integers():
    model = zoo.vit()
    model.blocks[0].mlp.up = nn.Sequential(model.blocks[0].mlp.up, torch.ao.quantization.FakeQuantize()).eval()
    return model.eval()


def by_hand():
    class Fake(zoo.Mlp):
        def forward(self, x):
            return self.down(self.act(torch.fake_quantize_per_tensor_affine(self.up(x), 0.1, 0, -128, 127)))

    return zoo.vit(mlp=lambda: Fake(zoo.DIM))


def absent_index():
    """Reads channels that a grey image has not; torch.export looks at shapes alone and does not mind."""

    class Grey(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = zoo.vit()

        def forward(self, x):
            return self.model(x[:, :1][:, [2, 1, 0]])

    return Grey().eval()


REFUSED = {
    "dynamically quantised": (quantised, r"float layers, not quantised ones \(blocks.0.attention.qkv, .*float model"),
    "scripted": (
        lambda: torch.jit.script(nn.Sequential(nn.Flatten(), nn.GELU()).eval()),
        "nn.Module in Python, not TorchScript.*before torch.jit.script",
    ),
    "traced": (lambda: torch.jit.trace(nn.Sequential(nn.GELU()).eval(), zoo.image()), "not TorchScript"),
    "fake-quantised": (in_training_for_integers, r"fake-quantised ones .*\(blocks.0.mlp.up.1\).*before prepare_qat"),
    "fake-quantised by hand": (by_hand, "'fake_quantize_per_tensor_affine'.*the float layer alone"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)).eval(), "initialised, not lazy .*run the module once"),
    "half, and cannot be copied": (lambda: Held(zoo.vit()).half(), "copy.deepcopy can copy.*generator.*leave out"),
    "sparse": (lambda: out(lambda y: y.to_sparse()), "outputs of the module must be dense.*to_dense"),
    "numbers in a list": (lambda: out(lambda y: y.tolist()), "outputs of the module must be tensors, not float"),
    "an index that is not there": (absent_index, "an index within the tensor, not an index out of bounds"),
    "NaN that is used": (lambda: out(lambda y: y / 0 * 0), "outputs of the module must be numbers, not NaN: output 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    make, words = REFUSED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        module = make()
    with pytest.raises(CaptureError, match=f"(?s){words}"):
        capture(module, zoo.image())


def out(f):
    """A model with an output of some sort."""

    class Out(zoo.Vit):
        def forward(self, x):
            return f(super().forward(x)[..., 0])

    return of(Out)


OUTPUTS = {
    "truth": lambda y: y > 0,
    "a matrix made on the way": lambda y: y @ torch.eye(y.shape[-1]),
    "whole numbers": lambda y: y.argmax(-1),
    "empty": lambda y: (y, y[:, 5:]),
    "infinite": lambda y: y.masked_fill(torch.tensor([True] + [False] * 4), float("-inf")),
    "all infinite": lambda y: y.abs() * torch.inf,
    "complex": lambda y: torch.complex(y, -y),
    "a number": lambda y: y.sum(),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs(name):
    assert capture(out(OUTPUTS[name]), zoo.image()).difference < 1e-5


def test_differences():
    inf = torch.inf
    for got, wanted, error in (
        ([1.0, 2.0], [1.0, 4.0], 0.5),
        ([], [], 0.0),
        ([True], [False], inf),
        ([3], [4], inf),
        ([3], [3], 0.0),
        ([-inf, 1.0], [-inf, 1.0], 0.0),
        ([-inf, 1.0], [inf, 1.0], inf),
        ([0.0, 1.0], [-inf, 1.0], inf),
        ([1.0, 2.0, 3.0], [1.0, 2.0], inf),
    ):
        found = difference(torch.tensor(got), torch.tensor(wanted))
        assert found == error, (got, wanted, found)
    assert math.isnan(difference(torch.tensor([1.0]), torch.tensor([torch.nan])))


def test_an_infinite_mask_is_no_bad_parameter():
    class Masked(zoo.Vit):
        def forward(self, x):
            return super().forward(x)[..., 0] + self.mask

    model = of(Masked)
    model.register_buffer("mask", torch.tensor([-torch.inf, 0, 0, 0, 0]))
    assert capture(model, zoo.image()).difference < 1e-5


def test_the_user_s_module_and_torch_s_defaults_stay_as_they_are():
    model = zoo.vit().half()
    before = copy.deepcopy(model.state_dict())
    torch.set_default_dtype(torch.float64)
    try:
        capture(model, zoo.image())
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(tensor.dtype == torch.float16 and tensor.equal(before[k]) for k, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("tasks", "words"),
    [({}, "at least one"), ({"a.b": ()}, "every one of tasks"), ({"a": 0}, r"arguments of task 'a' must be a tuple")],
)
def test_tasks(tasks, words):
    with pytest.raises(InputError, match=words):
        capture(zoo.vit(), zoo.image(), tasks=tasks)


# What the user's code does to the process.


@pytest.fixture
def written(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "neighbour_of_it.py").write_text("import zoo\n\ndef vit():\n    return zoo.vit()\n")
    (tmp_path / "models" / "it.py").write_text(
        "import os, sys, torch, neighbour_of_it\n"
        "print('at import')\n"
        "def vit():\n"
        "    print('while it is built')\n"
        "    os.system('echo by another program')\n"
        "    torch.set_default_dtype(torch.float64)\n"
        "    return neighbour_of_it.vit()\n"
        "def ends():\n"
        "    sys.exit(3)\n"
        "def small():\n"
        "    model = neighbour_of_it.vit()\n"
        "    return model\n"
    )
    return "models/it.py"


def test_what_the_user_s_code_prints_and_sets(written, capfd):
    imported = open_function(f"{written}:vit", ImportOptions(image_size=(16, 16)))
    out, err = capfd.readouterr()
    assert out == "" and "at import" in err and "while it is built" in err and "by another program" in err
    assert torch.get_default_dtype() == torch.float32
    assert "converted to float32" in imported.report.notes[0]


def test_code_that_ends_the_program(written):
    with pytest.raises(CaptureError, match="fails with SystemExit: 3"):
        open_function(f"{written}:ends", ImportOptions())


def test_the_size_that_was_assumed_is_named_and_torch_is_quiet(written, capfd):
    with pytest.raises(CaptureError) as caught:
        open_function(f"{written}:small", ImportOptions())
    first = str(caught.value).splitlines()[0]
    assert "images of 224 x 224 were assumed" in first and "--image-size" in first
    _, err = capfd.readouterr()
    assert "fake_tensor" not in err and len(err.splitlines()) <= 1, err
