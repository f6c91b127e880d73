"""Models named as module:function."""

import textwrap

import pytest
import torch

from moesaic.errors import BAD_INPUT
from moesaic.golden.frontend.refusal import CaptureError
from moesaic.golden.frontend.source import is_function, open_function
from moesaic.golden.importers.open import open_model
from moesaic.golden.importers.options import ImportOptions
from moesaic.problems import explain

PREFIX = """
    import torch
    import mixtures
    import zoo
    from moesaic.golden.frontend.source import Subject
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a file of models into an empty current folder; its name without the suffix."""
    monkeypatch.chdir(tmp_path)
    count = iter(range(100))

    def write(text):
        name = f"models_{tmp_path.name.replace('-', '_')}_{next(count)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(PREFIX) + textwrap.dedent(text))
        return name

    return write


def refused(text, **options):
    with pytest.raises(CaptureError) as caught:
        open_function(text, ImportOptions(**options))
    problem = explain(caught.value)
    assert problem is not None and problem.status == BAD_INPUT
    return str(caught.value)


def test_a_module_and_its_image(written):
    name = written("def my_vit():\n    return zoo.vit(), zoo.image()\n")
    for text in (f"{name}:my_vit", f"{name}.py:my_vit"):
        imported = open_model(text, ImportOptions())
        assert imported.network.name == "my-vit" and imported.network.image_size == (16, 16)
        assert imported.report.kind == "imported" and "equal to the module" in imported.report.checked
        assert imported.report.names["blocks.0.mlp.fc1.weight"] == "blocks.0.mlp.up.weight"
        assert list(imported.modules) == ["output"]
        assert any("mean 0.5 and deviation 0.5" in line for line in imported.report.assumed)


def test_random_weights_come_from_the_seed(written):
    name = written(
        "def vit():\n    return zoo.Vit(zoo.Conv(), zoo.Block(zoo.Fused(32, 2), zoo.Mlp(32))).eval(), zoo.image()\n"
    )
    before = torch.random.get_rng_state()
    one, same, other = (open_function(f"{name}:vit", ImportOptions(seed=seed)).state for seed in (1, 1, 2))
    key = "blocks.0.mlp.fc1.weight"
    assert torch.equal(one[key], same[key]) and not torch.equal(one[key], other[key])
    assert torch.equal(before, torch.random.get_rng_state())


def test_what_is_said_about_a_module(written):
    name = written(
        """
        def plain():
            return zoo.vit()

        def tasks():
            return zoo.seeded(mixtures.TaskVit(lambda: mixtures.Published(2)))

        def subject():
            return Subject(module=tasks(), image=zoo.image(), tasks={"a": (0,), "b": (1,)}, pixel_mean=(0.1, 0.2, 0.3))
        """
    )
    imported = open_function(f"{name}:plain", ImportOptions(image_size=(16, 16), pixels="imagenet"))
    assert imported.network.image.pixel_mean == (0.485, 0.456, 0.406) and not imported.report.assumed
    imported = open_function(f"{name}:tasks", ImportOptions(image_size=(16, 16), tasks=("x", "y")))
    assert imported.network.tasks == ("x", "y")
    assert not torch.equal(imported.state["blocks.1.mlp.gate.0.w_gate"], imported.state["blocks.1.mlp.gate.1.w_gate"])
    imported = open_function(f"{name}:subject", ImportOptions())
    assert imported.network.tasks == ("a", "b") and imported.network.image.pixel_mean == (0.1, 0.2, 0.3)
    imported = open_function(f"{name}:subject", ImportOptions(tasks=("b",)))
    assert imported.network.tasks == ("b",)
    assert "--tasks must be of a, b, not c" in refused(f"{name}:subject", tasks=("c",))
    assert "--image-size must be (16, 16)" in refused(f"{name}:subject", image_size=(32, 32))
    assert "--heads must not be given" in refused(f"{name}:plain", heads=3)
    # Without an image: 224 pixels, which this model cannot take.
    assert "torch.export must be able to trace" in refused(f"{name}:plain")


def test_names_that_lead_nowhere(written):
    name = written(
        """
        value = 3

        def needs(x):
            return x

        def fails():
            raise RuntimeError("no weights here")

        def number():
            return 3
        """
    )
    assert "there is no module 'nowhere'" in refused("nowhere:vit")
    assert "in a file that exists" in refused("nowhere.py:vit")
    assert "which has fails, needs, number" in refused(f"{name}:vit")
    assert "which has" in refused(f"{name}:value")
    assert "not one that needs x" in refused(f"{name}:needs")
    text = refused(f"{name}:fails")
    assert "fails with RuntimeError: no weights here" in text and f"{name}.py:" in text
    assert "must return an nn.Module, (module, example image) or a Subject, not int" in refused(f"{name}:number")
    other = written("import a_package_nobody_has\n\ndef vit():\n    pass\n")
    assert "it needs 'a_package_nobody_has', which is not installed" in refused(f"{other}:vit")
    other = written("1 / 0\n")
    assert "ZeroDivisionError" in refused(f"{other}:vit")


def test_what_is_no_function():
    assert is_function("a.b:c") and is_function("dir/file.py:vit")
    assert not any(is_function(text) for text in ("m3vit-tiny", "weights.pth", "a:b:c", "a:1", "C:\\x y:z"))
