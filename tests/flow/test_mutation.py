"""Mutants: made by Yosys behind a number, proved equivalent or tried in forks of one simulation, and sorted."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from moesaic.errors import FailedRun
from moesaic.flow.stages import Stages
from moesaic.flow.verify import mutation
from moesaic.flow.verify.campaign import Failure
from moesaic.flow.verify.host_trials import host_trials
from moesaic.flow.verify.ladder import Ladder, Rung, Truth
from moesaic.flow.verify.mutants import PER_BUILD, Climb, Mutant, Mutants, watched
from moesaic.flow.verify.mutation import LISTED, MUTATION, WRONGLY, check_truths, excused, sort
from moesaic.flow.verify.mutator import mutants_wanted
from moesaic.flow.verify.nano import nano
from moesaic.flow.verify.trial import Trial, runs_trial
from moesaic.flow.verify.tried import CONFIG
from moesaic.golden import numerics
from moesaic.hw.export import TOP
from moesaic.hw.spec import isa
from moesaic.hw.top import Accelerator
from moesaic.hw.verilog import to_verilog
from moesaic.sim.build import build
from moesaic.sim.verilated import run

DESIGN = """(* src = "hw/adder.py:1" *)
module adder(clk, a, b, o);
  input clk;
  input [3:0] a;
  input [3:0] b;
  output [3:0] o;
  (* src = "hw/adder.py:7" *)
  reg [3:0] o;
  always @(posedge clk) o <= a + b;
  always @* assert (a != 4'd15);
endmodule
"""


def test_mutants_of_a_small_design(tmp_path: Path) -> None:
    """All in one text, none of the checks changed, each with its line; the same seed gives the same ones."""
    (tmp_path / "source.sv").write_text(DESIGN)
    job = {"source": "source.sv", "out": "out.sv", "list": "list.txt", "top": "adder", "count": "12", "seed": "3"}
    job["design"] = "out.il"
    for _ in range(2):
        command = [sys.executable, "-m", "moesaic.flow.verify.mutator"]
        done = subprocess.run(command, input=json.dumps(job), text=True, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        texts = (tmp_path / "out.sv").read_text(), (tmp_path / "list.txt").read_text()
    mutants = [Mutant.of(line, DESIGN.splitlines()) for line in texts[1].splitlines()]
    assert len(mutants) == 12 and {mutant.module for mutant in mutants} == {"adder"}
    assert all(place.startswith("hw/adder.py:") for mutant in mutants for place in mutant.places)
    assert any(mutant.places for mutant in mutants) and len(set(map(str, mutants))) == 12
    assert {mutant.statement for mutant in mutants} <= set(map(str.strip, DESIGN.splitlines()))
    text = watched(texts[0])
    assert text.count("testbench.reached[") == 12 and "input [15:0] mutant" in text
    assert all(f"testbench.reached[{number}] = 1;" in text for number in range(1, 13))
    clocks = [n for n, mutant in enumerate(mutants, start=1) if mutant.wire == "clk[0]"]
    assert all(f"if (1) testbench.reached[{n}]" in text for n in clocks)


def test_reads_without_a_clock_have_no_enable() -> None:
    """Yosys writes no Verilog of one that has: such mutants make place for others, and numbers have no gap."""
    read = "mutate -ctrl mutant 16 {} -mode inv -module m -cell $memrd$\\kept$a.sv:1$2 -port {} -portbit 0"
    commands = [read.format(k + 1, port) for k, port in enumerate(("DATA", "EN", "ADDR", "CLK", "DATA", "ADDR"))]
    wanted = [read.format(k + 1, port) for k, port in enumerate(("DATA", "ADDR", "DATA"))]
    assert mutants_wanted("\n".join(commands), 3) == "".join(f"{command}\n" for command in wanted)


def test_a_mutant_by_its_command() -> None:
    lines = ["module gate;", "  if (a)", "    next <= a;"]
    line = (
        "mutate -ctrl mutant 16 4 -mode cnot1 -module moesaic_feeder -cell $add$1 -port A -portbit 3 -ctrlbit 2 "
        "-wire next -wirebit 5 -src hw/engine/feeder.py:39 -src source.sv:3.2-3.7 -src source.sv:2.1-3.7 "
        "-src hw/engine/feeder.py:39"
    )
    assert str(Mutant.of(line, lines)) == "cnot1 by 2 of feeder.next[5] in `if (a)` (hw/engine/feeder.py:39)"
    line = (
        "mutate -ctrl mutant 16 5 -mode inv -module moesaic_gate -cell $and$1 -port Y -portbit 0 -src source.sv:3.1-3.2"
    )
    assert str(Mutant.of(line, lines)) == "inv of gate.Y[0] in `next <= a;`"


def test_trials_in_forks(tmp_path: Path) -> None:
    """Each mutant is noticed where it first can be, by what differs, and none has anything of the one before."""
    trials = [
        Trial("first", (("write", 0, 5), ("irq",), ("pin",), ("read", 0), ("idle",))),
        Trial("second", (("poke", 16, "00" * 16), ("write", 0, 9), ("wait", 20), ("pin",), ("dump", 0, 16), ("bus",))),
    ]
    first, second = _outcomes(trials, [1, 2, 3, 4, 5, 6, 7], tmp_path)
    assert first["reached"] == [1, 2, 3, 4, 7] and second["reached"] == [1, 2, 3, 4, 5, 6, 7]
    assert first["found"] == [[1, "read 0"], [2, "irq"], [3, "write 0"], [4, "same"], [7, "irq"]]
    assert second["found"] == [[4, "dump 0"], [5, ""], [6, "pin"], [0, "same"]]
    assert (tmp_path / "right_1.bin").read_text() == f"{7:032x}"


def _outcomes(trials: list[Trial], mutants: list[int], folder: Path) -> list[dict[str, object]]:
    """Of the bench."""
    job = {"mutants": mutants, "trials": [asdict(trial) for trial in trials], "base": 0, "limit": 100}
    (folder / "job.json").write_text(json.dumps(job))
    env = {"MOESAIC_JOB": str(folder / "job.json")}
    simulator = build(Path(__file__).with_name("mutants_bench.sv").read_text(), top="testbench")
    run(simulator, test_module="moesaic.flow.verify.mutant_run", work_dir=folder, env=env, timeout_s=300)
    found: list[dict[str, object]] = json.loads((folder / "outcome.json").read_text())
    return found


def test_counters_carry(tmp_path: Path) -> None:
    """Through all their bits, the highest of which nothing else reaches."""
    before = Trial("short", (("wait", 3), ("read", 8)))
    outcomes = _outcomes([before, Trial("carry", (("counters", (1 << 63) - 1), *before.steps))], [8], tmp_path)
    assert [outcome["reached"] for outcome in outcomes] == [[8], [8]]
    assert [outcome["found"] for outcome in outcomes] == [[[8, "same"]], [[8, "read 8"], [0, "same"]]]


def test_numbers_and_watchdogs_are_set_by_themselves(tmp_path: Path) -> None:
    """The one to a value, the other by what it loses; counters that carry are left alone, and leave them alone."""
    steps = (
        ("counters", 0x55, "numbers"),
        *(("expect", 12, 0x55, True), ("expect", 16, 1000, True), ("expect", 8, 0, True)),
        ("counters", 990, "watchdog"),
        *(("expect", 12, 0x55, True), ("expect", 16, 10, True)),
        ("counters", 7 << 60),
        *(("expect", 12, 0x55, True), ("expect", 16, 10, True), ("expect", 8, 7 << 28, True)),
    )
    assert _outcomes([Trial("set", steps)], [1], tmp_path)[0]["found"] == [[0, "same"]]


def test_a_register_that_must_have_a_value(tmp_path: Path) -> None:
    """Of the right hardware it is known, of a mutant it is looked at as by any read."""
    write = ("write", 0, 5)
    good = [Trial("known", (write, ("expect", 0, 5, True), ("expect", 0, 4, False)))]
    assert _outcomes(good, [1], tmp_path)[0]["found"] == [[1, "expect 0"], [0, "same"]]
    for wrong in (("expect", 0, 4, True), ("expect", 0, 5, False)):
        with pytest.raises(FailedRun, match="must"):
            _outcomes([Trial("wrong", (write, wrong))], [1], tmp_path)


def test_how_mutants_are_sorted() -> None:
    climb = Climb({2: (0, "irq"), 3: (1, ""), 4: (1, "read 20")}, {5: (0, 1), 6: ()})
    assert sort(range(1, 7), frozenset({1}), climb, ["a run", "host"]) == {
        1: "proved equivalent",
        2: "noticed: a run",
        3: "noticed: an assertion, or the end of the simulation",
        4: "noticed: host",
        5: "not noticed",
        6: "not reached by any trial",
    }


def test_two_climbs_are_one() -> None:
    """What cheap trials leave climbs on; trials are numbered on."""
    first = Climb({1: (1, "irq")}, {1: (0, 1), 2: (), 3: (2,)})
    both = mutation._both(first, 3, Climb({3: (0, "dump 0")}, {2: (1,), 3: (0, 1)}))
    assert both == Climb({1: (1, "irq"), 3: (3, "dump 0")}, {1: (0, 1), 2: (4,), 3: (2, 3, 4)})


def test_what_is_proved_does_not_climb_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant 1 is proved at once, 2 noticed by a cheap trial, 3 proved then, 4 noticed by a network, 5 by nothing."""
    trial = Trial("t", ())
    truth: Any = SimpleNamespace(program=None)
    steps = Ladder((Rung("cheap", (trial,)), Rung("network", (trial,))), 1, (truth,), bytes(5))
    mutants = Mutants("", (Mutant("inv", "m", "w[0]", (), ""),) * 5, Path("design"))
    climbed = []

    def climb(_steps: object, rungs: tuple[Rung, ...], _simulator: object, asked: list[int]) -> Climb:
        climbed.append((rungs[0].name, list(asked)))
        found = {"cheap": {2: (0, "irq")}, "network": {4: (0, "irq")}}[rungs[0].name]
        return Climb(found, {mutant: (0,) for mutant in asked})

    def over_cycles(*_: object, mutants: list[int], **__: object) -> frozenset[int]:
        assert mutants == [3, 4, 5]
        return frozenset({3})

    monkeypatch.setattr(mutation, "_climb", climb)
    monkeypatch.setattr(mutation, "equivalent", lambda *_, **__: frozenset({1}))
    monkeypatch.setattr(mutation, "equivalent_over_cycles", over_cycles)
    monkeypatch.setattr(mutation, "MutantSimulator", lambda *_, **__: None)
    monkeypatch.setattr(mutation.SimulatorNeed, "of", lambda _: SimpleNamespace(accelerator=None, base=0))
    assert mutation.endings_of(steps, mutants, range(1, 6)) == {
        1: "proved equivalent",
        2: "noticed: cheap",
        3: "proved equivalent",
        4: "noticed: network",
        5: "not noticed",
    }
    assert climbed == [("cheap", [2, 3, 4, 5]), ("network", [4, 5])]


def test_what_is_listed_as_equivalent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts apart; what is noticed all the same is a survivor, and shown as what it is."""
    mutants = Mutants("", tuple(Mutant("inv", "m", f"w[{k}]", (), "if (a)") for k in range(PER_BUILD)), Path("design"))
    monkeypatch.setattr(mutation, "_exclusions", lambda: (("inv of m.w[[]?] in `if (a)`", "so"),))
    monkeypatch.setattr(mutation, "mutants_of", lambda *_, **__: mutants)
    found = {1: "noticed: a run", 11: "noticed: a run", 21: "not noticed", 31: "proved equivalent"}
    monkeypatch.setattr(mutation, "endings_of", lambda *_: found)
    chunk = MUTATION.function(None, (0, 0), Stages(quiet=True))
    assert chunk.endings == {WRONGLY: 1, "noticed: a run": 1, "not noticed": 1, "proved equivalent": 1}
    assert [(failure.case, failure.found) for failure in chunk.failures] == [(0, WRONGLY), (20, "not noticed")]
    listed = Failure(3, "inv of m.w[3] in `if (a)`", "not noticed")
    assert excused(listed) == LISTED and excused(replace(listed, found="not reached by any trial")) == LISTED
    assert excused(replace(listed, found=WRONGLY)) == "" == excused(replace(listed, what="inv of m.w[33] in `if (a)`"))
    assert MUTATION.again is not None
    assert MUTATION.again(None, (0, (0, 20)), Stages(quiet=True)) == {
        0: WRONGLY,
        10: "noticed: a run",
        20: "not noticed",
        30: "proved equivalent",
    }


def test_what_is_listed_is_there() -> None:
    """Each pattern names a module and a statement of the accelerator, and has a reason."""
    text = to_verilog(Accelerator(CONFIG), name=TOP, assertions=True, source_locations=True)
    modules = {
        found[1].removeprefix("moesaic_"): found[0]
        for found in re.finditer(r"^module (\w+).*?^endmodule", text, flags=re.MULTILINE | re.DOTALL)
    }
    for pattern, reason in mutation._exclusions():
        named = re.fullmatch(r"\S+(?: by \S+)? of (\w+)\.\S+(?: to \w+)? in `(.*)`\*?", pattern)
        assert named is not None, pattern
        lines = ["", *map(str.strip, modules[named[1]].splitlines())]  # some have no statement in the Verilog
        assert any(fnmatchcase(line, named[2]) for line in lines), pattern
        assert reason.endswith(".")


def test_numbers_of_reasons() -> None:
    """Of scores, tokens, neighbours that share one, and fields, by which mutants are listed as equivalent."""
    sums = np.arange(65535, 65535 * CONFIG.experts + 1)
    reciprocals, exponents = numerics.reciprocal(sums)
    assert numerics.round_shift(65535 * reciprocals, exponents).max() == 65533
    assert CONFIG.max_tokens == 136 and CONFIG.ports == 1
    # Two neighbours, of which the larger lies less than one below the maximum.
    scores = np.stack(np.meshgrid(np.arange(-255, 1), np.arange(-1300, 1)), axis=-1).reshape(-1, 2)
    codes, maximum, level = numerics.softmax_block(scores, None, bits=CONFIG.probability_width)
    streamed = numerics.probability(codes, (level - 4 * maximum)[:, None], bits=CONFIG.probability_width)
    assert streamed.sum(axis=1).max() == 510
    # What fetches and stores have no field for.
    assert max(isa.FORMATS[opcode].bits for opcode in (isa.Opcode.FETCH, isa.Opcode.STORE)) <= 100


def test_the_right_hardware_is_held_to_the_golden_model(tmp_path: Path) -> None:
    network = nano()
    program, region = network.program, network.program.region("result")
    memory = bytearray(program.memory)
    good: Any = SimpleNamespace(unpack_result=lambda data: np.frombuffer(data, np.uint8), region=program.region)
    good.address = program.address
    low = region.address - program.address
    truth = Truth("a run", good, np.frombuffer(bytes(memory[low : low + region.bytes]), np.uint8))
    (tmp_path / "right_1.bin").write_bytes(memory)
    check_truths([truth], ["other", "a run"], tmp_path)
    memory[low] ^= 1
    (tmp_path / "right_1.bin").write_bytes(memory)
    with pytest.raises(FailedRun, match="bit exact in trial 'a run'"):
        check_truths([truth], ["other", "a run"], tmp_path)


def test_runs_as_steps() -> None:
    """The result is overwritten before each run, registers that hold a value are not written again, patches undone."""
    network = nano()
    trial = runs_trial("two", network.program, [network.patched("compute", 3, bytes(32)), network.run()])
    starts = [place for place, step in enumerate(trial.steps) if step[:3] == ("write", 0x10, 1)]
    assert len(starts) == 2
    pokes = [step for step in trial.steps if step[0] == "poke"]
    assert [step[1] for step in pokes].count(network.program.region("result").address) == 2
    patched = [step[2] for step in pokes if step[1] == network.place("compute", 3)]
    assert patched == ["00" * 32, network.bytes_of("compute", 3).hex()]
    writes = [sum(step[0] == "write" for step in part) for part in (trial.steps[: starts[0]], trial.steps[starts[0] :])]
    assert writes[0] > 20 and writes[1] == 3  # the two commands to start, and an interrupt to clear
    names = [trial.name for trial in host_trials(network)]
    assert len(names) == len(set(names)) == 6
