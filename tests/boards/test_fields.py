"""Fields of an accelerator as options: what they change, and one line for what they cannot."""

from pathlib import Path

import pytest

from moesaic.boards.board import load_board
from moesaic.boards.configuration import Configuration
from moesaic.boards.fields import name_with, read_fields
from moesaic.errors import InputError
from moesaic.flow.explore_space import default_space, with_fields
from moesaic.flow.request import make_request
from moesaic.golden.config import network_of, preset
from moesaic.hw.spec.presets import PRESETS

MICRO8 = PRESETS["micro8"]


def test_values_are_of_the_fields_types() -> None:
    typed = [
        "rows=16",
        "clock_mhz=250",
        "joint_memories=True",
        "ultra_ram=kv, activation",
        " silu = false",
        "name=mine",
    ]
    assert read_fields(typed) == {
        "rows": 16,
        "clock_mhz": 250.0,
        "joint_memories": True,
        "ultra_ram": ("kv", "activation"),
        "silu": False,
        "name": "mine",
    }
    assert read_fields(["ultra_ram="]) == {"ultra_ram": ()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("row=8", r"set must name a field of an accelerator, not 'row' \(nearest: 'rows'\)"),
        ("prefetch=8", r"not 'prefetch' \(nearest: 'prefetch_words'\)"),
        ("colour=8", r"not 'colour' \(fields: name, rows, lanes"),
        ("rows", "set must be FIELD=VALUE, such as rows=32, not 'rows'"),
        ("rows=8.5", "rows must be a whole number, not '8.5'"),
        ("clock_mhz=fast", "clock_mhz must be a number, not 'fast'"),
        ("silu=maybe", "silu must be true or false, not 'maybe'"),
        ("rows=12", "rows must be a power of two from 4 to 128, not 12"),
        ("name=a b", "name must be 1 to 64 letters"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_request(model="m3vit-micro", accelerator=Configuration.of(None, [text]))


def test_a_field_is_given_once() -> None:
    with pytest.raises(InputError, match="set must give rows once, not 8 and '16'"):
        read_fields(["rows=8", "rows=16"])


def test_the_model_s_usual_accelerator_is_changed(tmp_path: Path) -> None:
    fields = Configuration.of(None, ["ports=1", "prefetch_words=64"])
    request = make_request(model="m3vit-micro", accelerator=fields)
    assert request.accelerator == MICRO8.replace(name="micro8-ports-1-prefetch-words-64", ports=1, prefetch_words=64)
    assert request.configured and request.board_origin == "micro8" and request.board == request.accelerator.name
    request = make_request(model="m3vit-micro", board="pynq-z2", accelerator=Configuration.of(None, ["acc_bits=28"]))
    assert request.accelerator == load_board("pynq-z2").accelerator.replace(name=request.board, acc_bits=28)
    file = tmp_path / "mine.toml"
    file.write_text("rows = 8\nlanes = 16\n")
    request = make_request(model="m3vit-micro", accelerator=Configuration.of(file, ["lanes=32"]))
    assert (request.accelerator.rows, request.accelerator.lanes, request.board) == (8, 32, "mine-lanes-32")
    assert Configuration.of(None, None) is None and Configuration.of(None, []) is None


def test_names_stay_names() -> None:
    assert name_with("zcu102", {"clock_mhz": 83.5, "silu": True}) == "zcu102-clock-mhz-83p5-silu-true"
    assert name_with("zcu102", {name: 1 for name in "abcdefghijklmnopqrst"}) == "zcu102-changed"


def test_a_search_keeps_what_is_given() -> None:
    board, network = load_board("pynq-z2"), network_of(preset("m3vit-micro"))
    space, changed = with_fields(default_space(board), board, read_fields(["rows=8", "acc_bits=28"]))
    assert space.axes["rows"] == (8,) and space.axes["lanes"] == default_space(board).axes["lanes"]
    assert changed.accelerator == board.accelerator.replace(acc_bits=28) and network.dim == 64
    with pytest.raises(InputError, match="set must name no field that a search chooses for the model, not 'kv_words'"):
        with_fields(space, board, {"kv_words": 512})
    with pytest.raises(InputError, match="lanes must be a power of two"):
        with_fields(space, board, {"lanes": 7})
