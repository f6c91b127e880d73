"""Campaigns: what they must find is planted, and a broken record is no loss."""

import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from moesaic.errors import FailedRun, InputError
from moesaic.flow.stages import Stages
from moesaic.flow.verify import beats, programs, resets, runs, slaves
from moesaic.flow.verify.campaign import Campaign, CampaignReport, Chunk, Failure, run_campaign
from moesaic.flow.verify.nano import Nano
from moesaic.flow.verify.nano import nano as make_nano
from moesaic.flow.verify.runs import EXACT, Case, run_chunk
from moesaic.flow.verify.slaves import RUN_CYCLES
from moesaic.sim.rtl import RtlRun, RtlSimulator


@pytest.fixture(scope="module")
def nano() -> Nano:
    return make_nano()


def test_programs(nano: Nano) -> None:
    chunk = run_chunk(nano, 0, [programs.draw(nano, 5, number) for number in range(150)])
    assert chunk.failures == () and sum(chunk.endings.values()) == 150
    assert {"BAD_OPCODE", "BAD_FIELD", "ADDRESS_RANGE", "WATCHDOG", "INCOMPLETE", EXACT} <= chunk.endings.keys()


def test_slaves(nano: Nano) -> None:
    chunk = run_chunk(nano, 0, [slaves.draw(nano, 5, number) for number in range(60)])
    assert chunk.failures == () and sum(chunk.endings.values()) == 60
    assert {"WATCHDOG", "HOST_ABORT", "SOFT_RESET", "RESET", EXACT} <= chunk.endings.keys()


def test_resets(nano: Nano) -> None:
    chunk = run_chunk(nano, 0, [resets.draw(nano, 0, number) for number in range(20)])
    assert chunk.failures == () and chunk.endings == {"RESET": 10, "SOFT_RESET": 10}
    cases = {resets.draw(nano, 0, number).run.command_after for number in range(0, 2 * RUN_CYCLES, 2)}
    assert cases == set(range(RUN_CYCLES))
    page = (importlib.resources.files("moesaic.report") / "signoff.md.j2").read_text(encoding="utf-8")
    assert f"{2 * RUN_CYCLES:,} cases have both" in page


def test_a_case_is_the_same_by_itself(nano: Nano) -> None:
    assert programs.draw(nano, 5, 17) == programs.draw(nano, 5, 17) != programs.draw(nano, 6, 17)


def test_what_must_be_found(nano: Nano, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ending that is not allowed, an interrupt that does not come, a wrong result behind a case."""
    good = Case(7, "nothing", nano.run(), ("WATCHDOG",))
    assert run_chunk(nano, 0, [good]).failures == (Failure(7, "nothing", EXACT),)
    result = nano.program.region("result")
    scribble = nano.changed("store", 0, offset=result.bytes - 16)
    assert run_chunk(nano, 0, [replace(good, run=scribble, allowed=(EXACT,))]).failures[0].found == "RESULT_RANGE"
    monkeypatch.setattr(runs, "LIMIT", 100)
    assert {f.found for f in run_chunk(nano, 0, [replace(good, allowed=())]).failures} >= {"TIMEOUT"}
    monkeypatch.undo()
    other = Nano(nano.qmodel, nano.image, nano.program)
    other.__dict__["expected"] = nano.expected + 1
    assert run_chunk(other, 0, [replace(good, allowed=())]).failures[0].found.startswith("the good run behind it")


def test_every_beat_answered_with_an_error(nano: Nano) -> None:
    """The first cases are each beat of each region with each response, once; twenty of them on RTL."""
    every = beats.beats(nano)
    cases = [beats.draw(nano, 0, number) for number in range(3 * len(every))]
    assert len({case.what for case in cases}) == len(cases) == 2463  # as docs/signoff.md says
    assert {case.run.memory["err_addr"] for case in cases} == {address for _, address in every}
    assert all(len(case.allowed) == 1 for case in cases)
    chunk = run_chunk(nano, 0, cases[::122])
    assert not chunk.failures and sum(chunk.endings.values()) == chunk.cases
    assert {"READ_SLVERR", "READ_DECERR", "FETCH_SLVERR"} <= set(chunk.endings)


def test_a_burst_outside_the_window_is_found(nano: Nano) -> None:
    """The window that the hardware is told of is larger than the one that the memory allows."""
    far = nano.changed("load", 2, base=0, offset=1 << 17)
    open_window = replace(far, overrides={"window_bytes": 1 << 24})
    (failure,) = run_chunk(nano, 0, [Case(3, "far", open_window)]).failures
    assert failure.case == 3 and failure.found.startswith("rules of the bus: {'mask': 2")


def test_a_case_that_kills_the_simulator_is_named(nano: Nano, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(simulator: RtlSimulator, program: object, given: Sequence[RtlRun], **options: object) -> None:
        if any(run.overrides for run in given):
            raise FailedRun("an assertion\nfailed")
        raise AssertionError("reached")

    monkeypatch.setattr(RtlSimulator, "run", run)
    bad = Case(4, "bad", nano.run(overrides={"load_count": 1}))
    assert run_chunk(nano, 0, [bad]).failures == (Failure(4, "bad", "an assertion failed"),)
    found = []
    monkeypatch.setattr(runs, "_simulate", lambda _, cases, seed, simulator: _dies(cases, found))
    cases = [replace(bad, number=number) for number in range(10)]
    chunk = run_chunk(nano, 0, cases)
    assert [failure.case for failure in chunk.failures] == [6] and chunk.endings == {"fine": 9, "simulation failed": 1}


def _dies(cases: Sequence[Case], found: list[int]) -> tuple[list[str], list[Failure]]:
    if any(case.number == 6 for case in cases):
        raise FailedRun("died")
    return ["fine"] * len(cases), []


def _pretend(shared: int, item: tuple[int, int], stages: Stages) -> Chunk:
    seed, number = item
    failures = (Failure(number * 10, "odd", f"seed {seed}"),) if number == 1 else ()
    return Chunk(number, 10, {"fine": 10 - len(failures), **({"odd": 1} if failures else {})}, failures)


PRETENCE = Campaign("pretence", "a pretence", 10, lambda: 0, _pretend, lambda _: None)


def _go(folder: Path, count: int, seed: int = 1) -> CampaignReport:
    return run_campaign(PRETENCE, count=count, seed=seed, folder=folder, stages=Stages(quiet=True))


def test_resuming(tmp_path: Path) -> None:
    whole = _go(tmp_path / "whole", 45)
    assert (whole.cases, whole.endings) == (50, {"fine": 49, "odd": 1})
    assert whole.failures == (Failure(10, "odd", "seed 1"),)
    _go(tmp_path / "parts", 20)
    record = tmp_path / "parts" / "pretence.jsonl"
    lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == 3
    record.write_text("".join(lines)[:-9], encoding="utf-8")  # killed while it wrote
    assert _go(tmp_path / "parts", 45) == whole
    ran = record.read_text(encoding="utf-8").splitlines()
    assert sorted(json.loads(line)["number"] for line in ran[1:]) == list(range(5))
    assert _go(tmp_path / "parts", 10) == whole  # nothing to do, nothing lost


def test_failures_that_are_none_after_all(tmp_path: Path) -> None:
    """They count as another ending, recorded or not; the record is as it was."""

    def survive(shared: int, item: tuple[int, int], stages: Stages) -> Chunk:
        survivors = tuple(Failure(item[1] * 10 + k, f"mutant {k}", "left") for k in range(2))
        return Chunk(item[1], 10, {"fine": 8, "left": 2}, survivors)

    def run(campaign: Campaign) -> CampaignReport:
        return run_campaign(campaign, count=20, seed=1, folder=tmp_path, stages=Stages(quiet=True))

    campaign = replace(PRETENCE, function=survive)
    for excused in (0, 1, 2):
        report = run(replace(campaign, excused=lambda failure, n=excused: "listed" if failure.case % 10 < n else ""))
        endings = {"fine": 16, "left": 4 - 2 * excused, "listed": 2 * excused}
        assert report.endings == {ending: cases for ending, cases in endings.items() if cases}
        assert len(report.failures) == 4 - 2 * excused


def test_failures_tried_again(tmp_path: Path) -> None:
    """Those that no longer fail count as what they are now, in the record too; excused ones are not tried."""
    tried: list[tuple[int, ...]] = []

    def survive(shared: int, item: tuple[int, int], stages: Stages) -> Chunk:
        survivors = tuple(Failure(item[1] * 10 + k, f"mutant {k}", "left") for k in range(3))
        return Chunk(item[1], 10, {"fine": 7, "left": 3}, survivors)

    def again(shared: int, item: tuple[int, tuple[int, ...]], stages: Stages) -> dict[int, str]:
        tried.append(item[1])
        return {case: "left" if case % 10 == 1 else "now" for case in item[1]}

    campaign = replace(PRETENCE, function=survive, excused=lambda failure: "listed" if failure.case % 10 == 2 else "")

    def run(campaign: Campaign, *, again: bool = False) -> CampaignReport:
        return run_campaign(campaign, count=2020, seed=1, folder=tmp_path, stages=Stages(quiet=True), again=again)

    assert run(campaign).endings == {"fine": 1414, "left": 404, "listed": 202}
    with pytest.raises(InputError, match="again must be for a campaign whose cases can be tried one by one"):
        run(campaign, again=True)
    campaign = replace(campaign, again=again)
    for report in (run(campaign, again=True), run(campaign)):
        assert report.endings == {"fine": 1414, "left": 202, "listed": 202, "now": 202}
        assert {failure.case % 10 for failure in report.failures} == {1} and report.cases == 2020
    assert [len(cases) for cases in tried] == [200, 200, 4] and all(case % 10 < 2 for cases in tried for case in cases)


def test_results_of_another_campaign_are_not_added_up(tmp_path: Path) -> None:
    _go(tmp_path, 20)
    with pytest.raises(InputError, match=r"out must hold results with seed 2, not 1 \(.*pretence.jsonl\)"):
        _go(tmp_path, 20, seed=2)
    record = tmp_path / "pretence.jsonl"
    text = record.read_text(encoding="utf-8")
    record.write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputError, match="as `moesaic verify` wrote it"):
        _go(tmp_path, 20)
    record.write_text(text.replace('"hardware": "', '"hardware": "other'), encoding="utf-8")
    with pytest.raises(InputError, match="out must hold results with hardware"):
        _go(tmp_path, 20)
