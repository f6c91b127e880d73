"""Mutants: made by Yosys behind a number, chosen by a plusarg, and noticed or not."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from moesaic.errors import FailedRun
from moesaic.flow.stages import Stages
from moesaic.flow.verify import mutation
from moesaic.flow.verify.mutants import Mutant, Mutants, selectable
from moesaic.flow.verify.mutation import SURVIVED, judge
from moesaic.flow.verify.nano import Nano, nano

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
RIGHT = ("done, bit exact", (), 2, 0, (("cycles", 3000),), (b"x",), 3)


def test_mutants_of_a_small_design(tmp_path: Path) -> None:
    """All in one text, none of the checks changed, each with its line; the same seed gives the same ones."""
    (tmp_path / "source.sv").write_text(DESIGN)
    job = {"source": "source.sv", "out": "out.sv", "list": "list.txt", "top": "adder", "count": "12", "seed": "3"}
    for _ in range(2):
        command = [sys.executable, "-m", "moesaic.flow.verify.mutator"]
        done = subprocess.run(command, input=json.dumps(job), text=True, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        texts = (tmp_path / "out.sv").read_text(), (tmp_path / "list.txt").read_text()
    mutants = [Mutant.of(line) for line in texts[1].splitlines()]
    assert len(mutants) == 12 and {mutant.module for mutant in mutants} == {"adder"}
    assert all(place.startswith("hw/adder.py:") for mutant in mutants for place in mutant.places)
    assert any(mutant.places for mutant in mutants) and len(set(map(str, mutants))) == 12
    text = selectable(texts[0], "adder")
    assert re.search(r"^module adder\(clk, a, b, o\);", text, re.MULTILINE)
    assert '$value$plusargs("mutant=%d", mutant)' in text and "input [15:0] mutant" not in text
    assert {int(number, 16) for number in re.findall(r"mutant == 16'h(\w+)", text)} == set(range(1, 13))
    with pytest.raises(FailedRun, match="module adder must have an input mutant, found 0 ports and 0 declarations"):
        selectable("\n" + DESIGN.partition("\n")[2], "adder")


def test_a_mutant_by_its_command() -> None:
    line = (
        "mutate -ctrl mutant 16 4 -mode cnot1 -module moesaic_feeder -cell $add$1 -port A -portbit 3 -ctrlbit 2 "
        "-wire next -wirebit 5 -src hw/engine/feeder.py:39 -src source.sv:9.2-9.7 -src hw/engine/feeder.py:39"
    )
    assert str(Mutant.of(line)) == "cnot1 of feeder.next[5] (hw/engine/feeder.py:39)"
    line = (
        "mutate -ctrl mutant 16 5 -mode inv -module moesaic_gate -cell $and$1 -port Y -portbit 0 -src source.sv:1.1-1.2"
    )
    assert str(Mutant.of(line)) == "inv of gate.Y[0] (no line)"


def test_how_a_mutant_is_noticed() -> None:
    right = [RIGHT, RIGHT]

    def after(run: int, place: int, value: object) -> str:
        changed = list(RIGHT)
        changed[place] = value
        return judge(right, [tuple(changed) if number == run else RIGHT for number in range(2)])

    assert judge(right, right) == SURVIVED
    assert after(0, 0, "done, other data") == "killed: data"
    assert after(1, 1, (("code", "TIMEOUT"),)) == "killed: no interrupt"
    assert after(1, 1, (("code", "WATCHDOG"), ("unit", "CONTROL"))) == "killed: WATCHDOG"
    for run, place, value in ((0, 2, 4), (1, 3, 2), (1, 4, (("cycles", 3001),)), (1, 5, (b"y",)), (0, 6, 2)):
        assert after(run, place, value) == "killed: status, counters or a later run"


def test_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Survivors are listed with what they are, in a chunk whose mutants partly kill the simulator."""
    listed = tuple(Mutant("inv", "array", f"w[{number}]", ("hw/engine/array.py:1",)) for number in range(60))
    monkeypatch.setattr(mutation, "mutants_of", lambda config, **_: Mutants("", listed))

    def run(network: Nano, simulator: object, number: int) -> list[mutation.Seen]:
        if number % 10 == 5:
            raise FailedRun("an assertion failed")
        return [RIGHT if number in (0, 52, 57) else (*RIGHT[:2], 4, *RIGHT[3:])]

    monkeypatch.setattr(mutation, "_run", run)
    network = nano()
    chunk = mutation._chunk(network, (0, 1), Stages(quiet=True))
    assert chunk.cases == 10 and chunk.endings == {
        "killed: assertion or end of the simulation": 1,
        "killed: status, counters or a later run": 7,
        "survived": 2,
    }
    assert [(f.case, f.what) for f in chunk.failures] == [
        (51, "inv of array.w[51] (hw/engine/array.py:1)"),
        (56, "inv of array.w[56] (hw/engine/array.py:1)"),
    ]
    monkeypatch.setattr(mutation, "_run", lambda *_: [("done, other data", *RIGHT[1:])])
    with pytest.raises(FailedRun, match="without a mutant must be bit exact, not .'done, other data'"):
        mutation._chunk(network, (0, 1), Stages(quiet=True))
