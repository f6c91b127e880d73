"""Names of tasks are held to one pattern wherever they enter: options, configurations, a module's own words."""

import dataclasses
from pathlib import Path

import pytest
from torch import nn

from moesaic.errors import InputError
from moesaic.golden.config import network_of, preset
from moesaic.golden.frontend.source import Subject, open_function
from moesaic.golden.importers.imported import Imported, ImportReport
from moesaic.golden.importers.imported_heads import imported_heads
from moesaic.golden.importers.names import model_name
from moesaic.golden.importers.options import ImportOptions
from moesaic.names import is_name, name_after

HOSTILE = ("seg.v1", "seg/depth", "../x", "", " ", "a b", "-a", "a" * 65, 'a"b', "a;b", "a\n", "ä", "$a", "[exec ls]")


def in_options(task):
    ImportOptions(tasks=("a", task))


def in_a_configuration(task):
    dataclasses.replace(preset("m3vit-micro"), tasks=("a", task))


def in_a_subject(task):
    Subject(module=nn.Identity(), tasks={"a": (0,), task: (1,)})


@pytest.mark.parametrize("way", [in_options, in_a_configuration, in_a_subject])
@pytest.mark.parametrize("task", [*HOSTILE, "all", 3])
def test_names_that_are_none(way, task):
    with pytest.raises(InputError, match="tasks"):
        way(task)


@pytest.mark.parametrize("way", [in_options, in_a_configuration, in_a_subject])
@pytest.mark.parametrize("task", ["semseg", "seg_v1", "seg-v1", "2", "a" * 64, "values"])
def test_names(way, task):
    assert is_name(task)
    way(task)


def test_a_module_s_names_are_refused_before_it_is_captured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dotted.py").write_text(
        "from torch import nn\n"
        "from moesaic.golden.frontend.source import Subject\n"
        "def vit():\n"
        "    return Subject(module=nn.Identity(), tasks={'seg.v1': (0,)})\n"
    )
    with pytest.raises(InputError, match=r"every one of tasks must be .*, not 'seg.v1'") as caught:
        open_function("dotted:vit", ImportOptions(image_size=(16, 16)))
    assert "\n" not in str(caught.value)


def test_heads_of_tasks_whose_names_torch_uses_itself():
    """nn.ModuleDict takes no 'values'."""
    config = dataclasses.replace(preset("m3vit-micro"), tasks=("values",))
    report = ImportReport(source="m", format="", assumed=(), notes=(), checked="", names={})
    imported = Imported(
        network=network_of(config), state={}, heads={}, report=report, modules={"values": nn.Identity()}
    )
    assert list(imported_heads(imported)) == ["values"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("deit_tiny_patch16_224.fb_in1k", "deit_tiny_patch16_224-fb_in1k"),
        ("my lab [exec x]\n", "my-lab-exec-x"),
        ("../..", "otherwise"),
        ("__", "otherwise"),
        ("é" * 9, "otherwise"),
        ("x" * 99, "x" * 64),
        ("x" * 63 + "..y", "x" * 63),
    ],
)
def test_names_after_files_are_names(text: str, name: str) -> None:
    assert name_after(text, "otherwise") == name and is_name(name)


def test_models_are_named_after_their_files() -> None:
    assert model_name(Path("a/vit.v2 (best).pth.tar")) == "vit-v2-best"
