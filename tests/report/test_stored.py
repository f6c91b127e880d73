"""The report as JSON and back: nothing is lost, and what cannot be is refused where it stands."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from report.samples import a_report, a_task

from moesaic.errors import InputError
from moesaic.flow.ablate import Ablation, AblationRow
from moesaic.records import Count, called, from_plain, shape_of, to_plain
from moesaic.report.doubts import SkippedFile
from moesaic.report.likeness import OutputLine
from moesaic.report.model import ModelOrigin, Report
from moesaic.report.stored import NUMBERS, plain_report, read_report, write_report
from moesaic.report.task_model import DifferenceReport, Stop
from moesaic.schema import SchemaError, Whole

ROW = AblationRow(
    name="all",
    title="everything on",
    bit_exact=True,
    cycles=None,
    model_cycles=8,
    bytes_read=9,
    array_busy=None,
    chip_mj=1.0,
    ddr_mj=2.0,
    energy_error=0.1,
)
FULL = a_report(
    ablation=Ablation("depth", (ROW,)),
    imported=ModelOrigin("a.pth", "a checkpoint", ("65 tokens",), (), (), "equal", {"patch_embed": "conv"}, "imported"),
    outputs={"depth": (OutputLine(sqnr_db=None, unlike=1, output=0, shape=(1, 5), largest=(3, 3)),)},
    tasks={
        "depth": a_task(
            differences=(DifferenceReport("RTL, integer golden", "blocks.0", -1, -1, 1, 2, 7, "text"),),
            error=Stop("WATCHDOG", "no unit made progress", "ARRAY", 3, 4, draining=False),
        ),
        "semseg": a_task(task="semseg", cycles=9),
    },
)


@pytest.mark.parametrize("report", [a_report(), FULL])
def test_nothing_is_lost(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report
    plain = json.loads((tmp_path / NUMBERS).read_text(encoding="utf-8"))
    assert plain == plain_report(report) and plain["format"] == 6
    assert plain["cycles"] == 7 and plain["config"]["rows"] == 8 and plain["worst_case"].keys() == report.tasks.keys()
    assert ("import" in plain) and "imported" not in plain and "accelerator" not in plain


CHANGES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda r: r.update(more=1), "report must be a table without the field 'more'"),
    (lambda r: r["tasks"]["depth"].update(more=1), "report.tasks.depth must be a table without the field 'more'"),
    (lambda r: r["tasks"]["depth"].pop("speculated_experts"), "with the field 'speculated_experts'"),
    (lambda r: r["tasks"]["depth"]["blocks"][0].update(name="a/b"), r"blocks\[0\].name must be a name with dots"),
    (lambda r: r["tasks"]["depth"].update(task="semseg"), "must be 'depth', not 'semseg'"),
    (lambda r: r["tasks"]["depth"].update(cycles=1.5), "cycles must be a whole number"),
    (lambda r: r["resources"]["units"]["array"].update(lut="many"), "units.array.lut must be a whole number"),
    (lambda r: r["resources"]["budget"].update(lut=-1), "lut must be at least 0"),
    (lambda r: r["config"].update(rows=7), "rows must be"),
    (lambda r: r["host"].update(python=3), "host.python must be a text"),
    (lambda r: r.update(violations=["a\x00b"]), r"violations\[0\] must be text"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_what_cannot_be_is_refused(change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path) -> None:
    plain = plain_report(a_report())
    change(plain)
    (tmp_path / NUMBERS).write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_report(tmp_path)


def test_figures_at_the_top_are_those_of_the_first_task(tmp_path: Path) -> None:
    """They are written for scripts, and never read."""
    plain = {**plain_report(a_report()), "cycles": 1, "energy": "none"}
    (tmp_path / NUMBERS).write_text(json.dumps(plain), encoding="utf-8")
    assert read_report(tmp_path) == a_report()


@dataclass(frozen=True)
class Inner:
    """A part."""

    size: Annotated[int, Whole(1, 9)]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    """All that a type may be."""

    inner: Inner | None
    pair: tuple[int, int]
    some: Annotated[tuple[Inner, ...], Count(1, 2)]
    amounts: Mapping[str, float | None]
    given: bool = field(metadata=called("if"))
    note: str = ""


def test_records() -> None:
    outer = Outer(None, (1, 2), (Inner(3, ("a",)),), {"a": 1.5, "b": None}, given=True)
    plain = to_plain(outer)
    assert plain == {
        "inner": None,
        "pair": [1, 2],
        "some": [{"size": 3, "names": ["a"]}],
        "amounts": {"a": 1.5, "b": None},
        "if": True,
        "note": "",
    }
    assert from_plain(Outer, plain, "outer") == outer
    del plain["note"]
    assert from_plain(Outer, {**plain, "inner": {"size": 9}}, "outer") == replace(outer, inner=Inner(9))
    for wrong, message in (
        ({"inner": {"size": 10}}, "outer.inner.size must be a whole number from 1 to 9"),
        ({"pair": [1]}, "outer.pair must be a list of 2 to 2 values"),
        ({"some": []}, "outer.some must be a list of 1 to 2 values"),
        ({"amounts": {"a": True}}, "outer.amounts.a must be a number"),
        ({"given": True}, "outer must be a table without the field 'given'"),
    ):
        with pytest.raises(SchemaError, match=message):
            from_plain(Outer, {**plain, **wrong}, "outer")
    with pytest.raises(TypeError, match="kind must be a type that JSON can keep"):
        shape_of(bytes)


def test_skipped_files_are_kept(tmp_path: Path) -> None:
    report = a_report()
    images = replace(report.calibration_images, skipped=(SkippedFile("a.png", "broken"),), warnings=("few",))
    write_report(replace(report, calibration_images=images), tmp_path)
    assert read_report(tmp_path).calibration_images == images
