"""Exploring: spaces, forecasts, fronts, what empties a space, files, and the choice of a board."""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from moesaic.boards.board import load_board
from moesaic.boards.configuration import read_configuration
from moesaic.boards.resources import Resources
from moesaic.cli import app
from moesaic.compiler.batch import Batch
from moesaic.compiler.cost import stream_words
from moesaic.compiler.ir import CompileError
from moesaic.compiler.memory import IDEAL
from moesaic.compiler.pipeline import compile_all
from moesaic.energy.activity import Activity
from moesaic.errors import InputError
from moesaic.flow import auto
from moesaic.flow.explore import Found, Point, explore, front, front_point
from moesaic.flow.explore_confirm import confirm_front
from moesaic.flow.explore_space import Choice, Space, configurations, default_space, read_space
from moesaic.flow.explore_work import Question, forecasts
from moesaic.flow.forecast import Forecast, forecast, whole_graph
from moesaic.flow.program import make_program
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden.config import PRESETS as MODELS
from moesaic.golden.config import network_of
from moesaic.golden.hollow import hollow_model
from moesaic.hw.spec.presets import PRESETS
from moesaic.records import to_plain
from moesaic.report.explore import write_page
from moesaic.report.explore_folder import read_exploration, update_exploration, write_exploration

BOARD, MICRO = load_board("pynq-z2"), network_of(MODELS["m3vit-micro"])
ASKED = Question(MICRO, "semseg", 2, 100)
SMALL = {
    "rows": (8, 16),
    "lanes": (8, 16),
    "load_rows": (2, 4),
    "ports": (1, 2),
    "port_bits": (64,),
    "prefetch_kib": (32, 64),
    "activation_kib": (8, 32),
}


def space(**axes: tuple) -> Space:
    return Space({**default_space(BOARD).axes, **SMALL, **axes})


@pytest.fixture(scope="module")
def result() -> Found:
    return explore(ASKED, BOARD, space(), Stages(quiet=True), workers=1)


def point(ms: float, share: float, energy: float = 1.0) -> Point:
    """A point of that latency, share and energy, at 1 MHz on a device with 10,000 LUTs."""
    config = PRESETS["micro8"].replace(clock_mhz=1.0)
    return Point(
        Choice(config),
        Forecast(round(1000 * ms), 1, 1, Activity()),
        Resources(lut=round(10_000 * share)),
        Resources(lut=10_000),
        IDEAL,
        energy,
    )


def test_front_keeps_what_nothing_beats() -> None:
    points = [
        point(*p) for p in ((1.0, 0.9), (1.004, 0.7), (1.1, 0.8), (2.0, 0.5), (3.0, 0.6), (4.0, 0.4), (4.1, 0.3995))
    ]
    assert [(p.milliseconds, p.share) for p in front(points)] == [(1.004, 0.7), (2.0, 0.5), (4.0, 0.4)]
    assert front([]) == []
    thrifty = front([*points, point(3.0, 0.6, 0.9)])  # worse in two, better in the third
    assert [p.milliseconds for p in thrifty] == [1.004, 2.0, 3.0, 4.0]


def test_front_of_a_search_is_not_beaten(result: Found) -> None:
    """By any of the points that were searched, beyond what the models can tell apart."""
    found = result.exploration
    best = [
        (entry.latency_ms, entry.percent[entry.fullest] / 100, entry.energy_mj, entry.image_ms) for entry in found.front
    ]
    assert 2 <= len(best) < len(found.points) and best == sorted(best)
    for mine in best:
        assert not [p for p in found.points if all(a < 0.99 * b for a, b in zip(p, mine, strict=True))]
    for p in found.points:  # something on the front is in nothing worse
        assert any(all(a <= 1.01 * b for a, b in zip(mine, p, strict=True)) for mine in best)


def test_limit_is_kept() -> None:
    limited = explore(ASKED, BOARD, space(), Stages(quiet=True), limit=0.73, workers=1).exploration
    assert 0 < len(limited.points) and all(share <= 0.73 for _, share, _, _ in limited.points)


def test_forecast_is_what_a_compiled_program_expects() -> None:
    """From sizes alone, the same cycles as from the packed network; and every piece has the words that packing gives
    it.
    """
    for board in ("micro8", "pynq-z2"):
        request = make_request(model="m3vit-micro", board=board, task="semseg", speculate=4)
        program, compilation = make_program(request, Stages(quiet=True))
        hollow = hollow_model(request.model)
        graph = whole_graph(hollow, request.accelerator, "semseg", speculate=4)
        cycles = forecast(graph, request.accelerator).cycles
        assert cycles == pytest.approx(program.estimate["semseg"], rel=2e-3)  # the order of experts is another
        for op in graph.ops:
            if op.weights is not None and op.weight_words is None:
                assert stream_words(graph, op, request.accelerator) == compilation.pieces[op.weights].words, op.name


def test_words_of_narrow_experts() -> None:
    hollow, config = hollow_model(MICRO, 4), PRESETS["micro8"]
    compilation = compile_all(hollow, config, tasks=("semseg",), blocks=2)
    ops = [op for op in compilation.scheduled["semseg"].ops if op.weights is not None and op.weight_words is None]
    assert ops and all(
        stream_words(compilation.scheduled["semseg"], op, config) == compilation.pieces[op.weights].words for op in ops
    )


def test_batches_are_searched(tmp_path: Path) -> None:
    """Programs of several images beside those of one: more latency, less time and energy for each image."""
    asked = space(rows=(8,), lanes=(8,), load_rows=(2,), ports=(1,), prefetch_kib=(64,), activation_kib=(64,))
    asked = Space({**asked.axes, "batch": (1, 2)})
    # A DDR so slow that waiting for its first word costs a few per cent of an image, and once a program.
    slow = dataclasses.replace(ASKED, latency=5000)
    found = explore(slow, BOARD, asked, Stages(quiet=True), workers=1)
    one, two = sorted(found.exploration.front, key=lambda entry: entry.batch)
    assert (one.batch, two.batch, one.image_ms) == (1, 2, one.latency_ms)
    assert two.image_ms == pytest.approx(two.latency_ms / 2) and two.config.max_tokens == 136
    assert one.latency_ms < two.latency_ms < 2 * one.latency_ms and two.energy_mj < one.energy_mj
    graph = whole_graph(hollow_model(MICRO), two.config, Batch(("semseg",), 2), blocks=2)
    assert two.cycles == forecast(graph, two.config, ddr=slow.ddr(two.config.clock_mhz)).cycles
    write_exploration(found, tmp_path / "found")
    assert "--batch 2" in (tmp_path / "found" / two.file).read_text()
    page = tmp_path / "page.md"
    page.write_text(f"<!-- explore {BOARD.name} -->\n<!-- end {BOARD.name} -->\n")
    write_page(page, found.exploration)
    rows = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert "| images |" in rows[0] and "| ms an image |" in rows[0] and len({row.count("|") for row in rows}) == 1


def test_widths_are_searched() -> None:
    """Each with its own network; 4 bits only where there are experts, and where the loader can fill twice the rows."""
    refused: Counter[str] = Counter()
    asked = space(rows=(4, 8), load_rows=(2, 4), ports=(1,), prefetch_kib=(64,), widths=("w8a8", "w4a8"))
    choices = list(configurations(asked, BOARD, MICRO, refused))
    assert {choice.widths for choice in choices} == {"w8a8", "w4a8"} and refused[
        "load_rows must be below rows for w4a8"
    ]
    for choice, answer in zip(choices, forecasts(ASKED, choices, Stages(quiet=True), workers=1), strict=True):
        hollow = hollow_model(MICRO, choice.expert_bits)
        assert answer == forecast(whole_graph(hollow, choice.accelerator, "semseg", blocks=2), choice.accelerator), (
            choice
        )
    result = explore(ASKED, BOARD, asked, Stages(quiet=True), workers=1)
    assert {entry.widths for entry in result.exploration.front} == {"w4a8"}  # fewer bytes for the same array
    list(configurations(asked, BOARD, network_of(MODELS["deit-tiny"]), refused))
    assert refused["widths must be w8a8 for a model without experts"]


def test_sizes_follow_the_model() -> None:
    tiny = network_of(MODELS["m3vit-tiny"])
    zcu102 = load_board("zcu102")
    choices = list(configurations(default_space(zcu102), zcu102, tiny, Counter()))
    assert len(choices) > 500 and len({choice.accelerator for choice in choices}) == len(choices)
    for choice in choices:
        config = choice.accelerator
        assert config.max_tokens >= tiny.tokens and config.residual_words * config.lanes >= tiny.tokens * tiny.dim


def test_keys_are_packed_where_a_row_holds_two() -> None:
    accelerator = BOARD.accelerator.replace(extra_key=False, packed_keys=True)
    board = dataclasses.replace(BOARD, accelerator=accelerator)
    found = {c.accelerator for c in configurations(space(rows=(4, 8, 16)), board, MICRO, Counter())}
    sizes = {(config.rows, config.lanes): config.packed_keys for config in found}
    assert sizes == {(4, 8): True, (8, 8): False, (4, 16): True, (8, 16): True, (16, 16): False}


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"rows": (5,)}, r"32 of 32 are not because rows must be a power of two"),
        ({"ports": (4,)}, r"ports must be at most 2 on pynq-z2"),
        (
            {"rows": (64,), "lanes": (64,), "prefetch_kib": (256,)},
            (
                r"fits pynq-z2; 6 of 6 need too much DSP \(at least 4,\d+, where 220 are allowed\); 6 of 6 need "
                r"too much "
                r"LUT"
            ),
        ),
        (
            {"lanes": (8,), "rows": (8,), "load_rows": (2,), "ports": (1,), "activation_kib": (1,)},
            r"configuration that holds m3vit-micro; none of \d+ does: .*activation memory",
        ),
        ({"prefetch_kib": (4096,)}, r"need too much BRAM36"),
    ],
)
def test_empty_spaces_name_the_constraint(axes: dict[str, tuple], message: str) -> None:
    with pytest.raises(InputError, match=message):
        explore(ASKED, BOARD, space(**axes), Stages(quiet=True), workers=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows = [8, 'many']", "rows must be a whole number, not [8, 'many']"),
        ("rows = []", "rows must have at least one value, not []"),
        ("rows = -8", "rows must be positive, not -8"),
        ("colour = 1", "colour must be one of rows, lanes,"),
        ("ultra_ram = 1", "ultra_ram must be true or false, not 1"),
        ("speculate = 'all'", "speculate must be a whole number, not 'all'"),
        ("widths = ['w8a8', 'w16a16']", "widths must be one of w8a8, w4a8, not ['w8a8', 'w16a16']"),
        ("rows =", "must be TOML"),
    ],
)
def test_wrong_spaces(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        read_space(file, BOARD)
    assert message in str(error.value)


def test_space_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text("rows = [8, 16, 8]\nclock_mhz = 90\nspeculate = ['auto', 0]\n")
    axes = read_space(file, BOARD).axes
    assert axes["rows"] == (8, 16) and axes["clock_mhz"] == (90.0,) and axes["speculate"] == ("auto", 0)
    assert axes["lanes"] == default_space(BOARD).axes["lanes"]
    with pytest.raises(InputError, match="space must be a readable TOML file"):
        read_space(tmp_path / "none.toml", BOARD)


def test_folder(result: Found, tmp_path: Path) -> None:
    write_exploration(result, tmp_path / "out")
    kept = read_exploration(tmp_path / "out")
    assert kept == result.exploration and kept.searched.hold_model == len(kept.points)
    for entry in kept.front:
        config = read_configuration(tmp_path / "out" / entry.file)
        assert config == entry.config and config.hash == entry.config_hash
        request = make_request(model="m3vit-micro", board="pynq-z2", accelerator=tmp_path / "out" / entry.file)
        assert request.accelerator == config and request.configured
    assert all((tmp_path / "out" / f"front.{suffix}").stat().st_size > 5_000 for suffix in ("png", "svg"))
    assert (tmp_path / "out" / "front.csv").read_text().startswith("series,number,latency_ms,percent,")
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- explore pynq-z2 -->\nstale\n<!-- end pynq-z2 -->\nb\n")
    write_page(page, kept)
    text = page.read_text()
    assert text.startswith("a\n<!--") and text.endswith("-->\nb\n") and "stale" not in text
    assert text.count("\n| ") == len(kept.front) + 1 and f"| {kept.front[0].cycles:,} |" in text
    page.write_text("no place")
    with pytest.raises(InputError, match="must have the lines <!-- explore pynq-z2 -->"):
        write_page(page, kept)
    write_exploration(result, tmp_path / "out")  # replaces its own
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing").touch()
    with pytest.raises(InputError, match="out must be a new or empty folder"):
        write_exploration(result, tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda kept: kept.pop("points"), "points"),
        (lambda kept: kept.update(best=[]), "best"),
        (lambda kept: kept["front"][0].update(config_hash="0"), "config_hash of 1.toml must be"),
        (lambda kept: kept["front"][0].update(number=2), "numbers of the front must be 1, 2, and so on"),
        (lambda kept: kept["front"][0].update(fullest="gold"), "fullest of 1.toml must be one of"),
        (lambda kept: kept["front"][0].update(limit="luck"), "'DDR' or 'ports' or 'array'"),
        (lambda kept: kept["front"][0].update(confirmed={"cycles": 3}), "confirmed"),
        (lambda kept: kept["space"].update(rows=[[8]]), "at most 0 levels"),
    ],
)
def test_damaged_numbers(result: Found, tmp_path: Path, change: Callable[[dict], object], message: str) -> None:
    kept = to_plain(result.exploration)
    change(kept)
    (tmp_path / "explore.json").write_text(json.dumps(kept))
    with pytest.raises(InputError, match=message):
        read_exploration(tmp_path)


def test_no_numbers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder must hold a explore.json"):
        read_exploration(tmp_path)


def test_confirmed_on_rtl(result: Found, tmp_path: Path) -> None:
    """A point runs bit exact, takes the cycles that were expected, and the folder says so; one after it is left
    alone.
    """
    request = make_request(model="m3vit-micro", board="micro8", task="semseg", blocks=2)
    hollow = hollow_model(request.model)
    graph = whole_graph(hollow, request.accelerator, "semseg", blocks=2)
    expected = Point(
        Choice(request.accelerator), forecast(graph, request.accelerator), Resources(lut=1), BOARD.budget, IDEAL, 1.0
    )
    front = tuple(front_point(number, expected) for number in (1, 2))
    found = Found(dataclasses.replace(result.exploration, front=front), (expected, expected))
    confirmed = confirm_front(
        request, found, 1, Stages(quiet=True), lambda now: update_exploration(now, tmp_path), ASKED
    )
    assert read_exploration(tmp_path) == confirmed
    first, second = confirmed.front
    done = first.confirmed
    assert done is not None and done.bit_exact and abs(done.error) < 0.03 and abs(done.routed_error) < 0.01, done
    assert second.confirmed is None and (tmp_path / "front.png").stat().st_size > 5_000


def test_board_auto(capsys: pytest.CaptureFixture[str]) -> None:
    assert make_request(model="m3vit-tiny", board="auto", stages=Stages()).board == "u280"
    said = " ".join(capsys.readouterr().err.split())
    assert "board: u280" in said and "kv260" in said and "too small: " in said
    assert make_request(model="deit-small", board="auto").board == "u280"
    huge = network_of(dataclasses.replace(MODELS["m3vit-small"], image_size=(1600, 1600)))
    with pytest.raises(CompileError, match="no preset holds it; on u280: .*tokens must be at most 1216"):
        auto.choose(huge, Stages(quiet=True))
    with pytest.raises(CompileError, match="no board holds it; on u280: "):
        auto.choose(huge, Stages(quiet=True), boards_only=True)


def test_auto_with_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("rows = 8\nlanes = 8\n")
    with pytest.raises(InputError, match="board must be one that the configuration is for, not 'auto'"):
        make_request(model="m3vit-micro", board="auto", accelerator=file)
    assert make_request(model="m3vit-micro", accelerator=file).board == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "explore m3vit-micro --board micro8",
            "board must be one with resources to compare with, not the bare accelerator 'micro8'",
        ),
        ("explore m3vit-micro --board abacus", "board must be one of"),
        ("explore m3vit-micro --model m3vit-tiny", "model must be given once"),
        ("explore m3vit-nano", "model must be one of m3vit-micro,"),
        ("explore m3vit-micro --task all", "task must be one of the model's, not 'all'"),
        ("explore m3vit-micro --latency 1", "latency must be at least 2 cycles, not 1"),
        ("explore m3vit-micro --space none.toml", "space must be a readable TOML file, not 'none.toml'"),
        (
            "explore m3vit-micro --board pynq-z2 --clock 2000",
            "space must have a configuration that is possible on pynq-z2",
        ),
        ("generate --board auto", "board must be named if there is no model to choose it for"),
        (
            "generate --board zcu102 --accelerator zcu104 --config a.toml",
            "accelerator must not be given beside a configuration",
        ),
        ("synth --board pynq-z2 --config none.toml", "configuration must be a readable TOML file, not 'none.toml'"),
    ],
)
def test_bad_input_on_the_command_line(
    words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 2 and message in " ".join(done.stderr.split()), done.stderr
    assert not any(tmp_path.iterdir())
