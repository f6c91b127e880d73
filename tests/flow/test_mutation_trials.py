"""Trials for mutants: instructions that decide, programs that show what they compute, and what simulators offer."""

import itertools

import numpy as np
import pytest

from moesaic.flow.verify import counter_trials as counter_trials_module
from moesaic.flow.verify import witness
from moesaic.flow.verify.broken_trials import broken_trial
from moesaic.flow.verify.counter_trials import counter_trials
from moesaic.flow.verify.host_trials import host_trials
from moesaic.flow.verify.legal import collect, wanted
from moesaic.flow.verify.legal_programs import Weights
from moesaic.flow.verify.legal_trials import PARTS, fine_program, left_programs, legal_trials, scaled_programs
from moesaic.flow.verify.legality_trials import instructions, legality_trials
from moesaic.flow.verify.mutants import named_behind
from moesaic.flow.verify.nano import STREAMS, Nano, nano
from moesaic.flow.verify.place_trials import place_trials
from moesaic.flow.verify.sensitive import Judged, sensitive
from moesaic.flow.verify.stream_trials import _streams, stream_trials
from moesaic.flow.verify.trial_hardware import kind, movable, settable
from moesaic.flow.verify.tried import CONFIG
from moesaic.golden import numerics
from moesaic.golden.numerics import Array
from moesaic.hw.spec import isa
from moesaic.hw.spec.functions import functions_of
from moesaic.hw.spec.isa import INSTRUCTION_BYTES, Function, Memory, Opcode
from moesaic.hw.spec.legal import refusal
from moesaic.hw.spec.registers import register_map
from moesaic.sim.machine import ProgramError


@pytest.fixture(scope="module")
def small() -> Nano:
    return nano()


@pytest.mark.parametrize("opcode", Opcode)
def test_single_instructions_are_refused_as_the_table_says(opcode: Opcode) -> None:
    """By `isa.decode` and the rules, or because they wait for an instruction that is not there."""
    seen = {True: 0, False: 0}
    for word, refused in instructions()[opcode]:
        seen[refused] += 1
        try:
            found, values = isa.decode(word.to_bytes(INSTRUCTION_BYTES, "little"))
        except ValueError:
            assert refused
            continue
        assert found is opcode
        early = values.get("feed_wait", 0) + values.get("load_wait", 0) > 0
        assert refused == (early or refusal(opcode, values, CONFIG) is not None)
    assert min(seen.values()) > 0


def test_few_instructions_show_all_that_decides() -> None:
    """What decides in one of many decides in one of the chosen ones, as 1 and as 0 alike."""
    fields = {"base": 0, "offset": 8, "expert_valid": 0, "expert": 0, "speculative": 0, "wait": 0}
    many = [
        {**fields, "expert_valid": valid, "expert": expert, "beats": beats}
        for valid in range(2)
        for expert in range(16)
        for beats in range(6)
    ]
    judged = Judged(Opcode.FETCH, many, CONFIG)
    assert judged.refused.tolist() == [refusal(Opcode.FETCH, values, CONFIG) is not None for values in many]
    chosen = sensitive(judged)
    assert len(chosen) < 12
    few = Judged(Opcode.FETCH, [many[place] for place in chosen], CONFIG)
    decided = [goal.any() for goal in judged.decisive()]
    assert [goal.any() for goal in few.decisive()] == decided
    # Experts below and above the limit, with and without `expert_valid`; beats, and beats in whole words.
    assert 6 <= sum(decided[: 2 * len(judged.comparisons)]) < sum(decided) < len(decided)


def test_an_instruction_alone_in_its_stream(small: Nano) -> None:
    """Each is put in the place of the first, which comes back at last; a good run ends the trial."""
    for trial, opcode in zip(legality_trials(small), Opcode, strict=True):
        stream = isa.FORMATS[opcode].stream
        place = small.place(stream, 0)
        pokes = [step[2] for step in trial.steps if step[:2] == ("poke", place)]
        words = [word.to_bytes(INSTRUCTION_BYTES, "little").hex() for word, _ in instructions()[opcode]]
        assert pokes == [*words, small.bytes_of(stream, 0).hex()]
        assert [step[3] for step in trial.steps if step[0] == "expect"] == [r for _, r in instructions()[opcode]]
        assert [step[0] for step in trial.steps[-2:]] == ["dump", "bus"]


@pytest.mark.parametrize(("name", "by"), [("activation", 1), ("layernorm", 1), ("probability", 1)])
def test_the_last_bit_counts(name: str, by: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more, in one step of what a fine program computes, leaves another residual."""
    weights = Weights(CONFIG)
    programs = collect([fine_program(part, weights) for part in PARTS], weights)
    right = [wanted(programs, task).output for task in programs.programs]
    old = getattr(numerics, name)

    def changed(*args: object, **options: object) -> Array:
        return np.asarray(old(*args, **options)) + by

    monkeypatch.setattr(numerics, name, changed)
    differs = [
        not np.array_equal(wanted(programs, task).output, output)
        for task, output in zip(programs.programs, right, strict=True)
    ]
    assert differs[("activation", "layernorm", "probability").index(name)]


def test_what_a_run_leaves_is_seen() -> None:
    """The second program has no meaning by itself, as it adds what it has not written."""
    weights = Weights(CONFIG)
    pair, left = left_programs(weights)
    programs = collect(pair, weights)
    first, second = programs.programs
    assert wanted(programs, first).output.shape == left.shape
    copies = [values for opcode, values in map(isa.decode, pair[1].compute) if opcode is Opcode.COPY]
    assert [(values["memory"], values["words"]) for values in copies] == [(Memory.RESIDUAL, 1)]
    with pytest.raises(ProgramError, match="what memories hold at first"):
        wanted(programs, second)


def test_legal_trials_show_the_activation_memory() -> None:
    image, trials = legal_trials(1 << 20)
    assert image.address == 1 << 20 and len({trial.name for trial, _ in trials}) == len(trials)
    assert all(np.ptp(left.astype(int)) > 1000 for _, left in trials)
    assert witness.TOKENS * CONFIG.lanes == trials[0][1].size


def test_places_have_every_bit(small: Nano) -> None:
    """Of the address of each base, 1 and 0; what is refused is beside what is not."""
    ends, windows, *_ = place_trials(small)
    for name in ("load_base", "compute_base", "store_base", "result_base", "weight_base0", "image_base0"):
        low, high = (word.offset for word in register_map(small.program.config.ports).values[name])
        lows = {step[2] for step in ends.steps if step[:2] == ("write", low)}
        highs = {step[2] for step in ends.steps if step[:2] == ("write", high)}
        assert _bits(lows) >> 16 == (1 << 16) - 1 and _bits(highs) == 0xFF
    wanted_ = [step[3] for step in windows.steps if step[0] == "expect"]
    assert 100 < sum(wanted_) < len(wanted_) - 100


def _bits(values: set[int]) -> int:
    """Bits that are 1 in some and 0 in others."""
    some = every = next(iter(values))
    for value in values:
        some |= value
        every &= value
    return some & ~every


VERILOG = """module accelerator(clk, o);
  input clk;
  output [63:0] o;
  wire _07_;
  reg [63:0] count_cycles = 64'h0000000000000000;
  reg [63:0] count_other = 64'h0000000000000000;
  wire [63:0] count_busy;
  reg [63:0] _42_ = 64'h0000000000000000;
  reg [63:0] _43_ = 64'h0000000000000000;
  reg [7:0] bytes;
  reg [63:0] bytesize;
  assign { count_busy[63:4], _07_, count_busy[2:0] } = _42_;
  assign { o[63:4], _07_, o[2:0] } = _43_;
endmodule

module reader(clk, bytes_read);
  output [63:0] bytes_read;
  reg [63:0] bytes_read = 64'h0000000000000000;
  reg [63:0] _42_;
  reg [7:0] done;
endmodule

module retirement(clk, retired);
  output [23:0] retired;
  reg [23:0] finished = 24'h000000;
  reg [23:0] _138_ = 24'b000000000000x00000000000;
  wire _020_;
  assign { retired[23:12], _020_, retired[10:0] } = _138_;
  reg [31:0] remaining = 32'd0;
endmodule
"""


def test_counters_can_be_set() -> None:
    """Those that Yosys has given a register of another name too, which then says what it is; nothing else."""
    text = settable(VERILOG)
    open_ones = [line.split()[2] for line in text.splitlines() if "public_flat_rw" in line]
    numbers = ["finished", "numbers_138_"]
    assert open_ones == ["count_cycles", "count_other", "_42_", "bytes_read", *numbers, "remaining"]
    assert [kind(name) for name in open_ones] == ["", "", "", "", "numbers", "numbers", "watchdog"]
    assert text.replace(" /* verilator public_flat_rw */", "").replace("numbers_138_", "_138_") == VERILOG


def test_names_behind_what_has_none() -> None:
    """Through nets that Yosys has named, as far as the first that the design has."""
    text = """module m(clk, mutant);
  wire _07_;
  assign _07_ = mutant == 16'h0002;
  assign _08_ = _07_ ? 1'h0 : _01_;
  assign { _09_[5:1], _11_ } = _10_ ? 6'hxx : { _08_, a };
  always_ff @(posedge clk)
    held <= _11_;
endmodule
"""
    assert named_behind(text) == {2: "held"}


def test_every_byte_of_a_register_is_written_and_left(small: Nano) -> None:
    """And each bit is 1 and 0 in what is written."""
    (trial,) = [trial for trial in host_trials(small) if trial.name == "registers"]
    for name in ("WATCHDOG", "IMAGE_BASE0_HI", "WINDOW_BYTES_LO"):
        offset = register_map(small.program.config.ports)[name].offset
        written = [step for step in trial.steps if step[:2] == ("write", offset) and len(step) == 5]
        assert _bits({step[2] for step in written}) == 0xFFFF_FFFF
        assert _bits({step[3] for step in written}) == 15


def test_runs_with_large_numbers(small: Nano) -> None:
    """Streams begin so much earlier that what is read first is what there is, and wait for as much more."""
    run = counter_trials_module._numbered(small, 1 << 20)
    for stream in STREAMS:
        base, count = run.overrides[f"{stream}_base"], run.overrides[f"{stream}_count"]
        assert (base + (1 << 20) * INSTRUCTION_BYTES) % (1 << 64) == small.place(stream, 0)
        assert count == small.count(stream) + (1 << 20)
    patched = {address: isa.decode(data)[1]["wait"] for address, data in run.patches}
    assert patched[small.place("store", 0)] == small.instruction("store", 0)[1]["wait"] + (1 << 20)
    assert len(patched) == small.count("load") + small.count("store")


def test_each_stream_is_the_last_and_the_longest(small: Nano) -> None:
    ends, counts, _ = stream_trials(small)
    offsets = [register_map(1)[f"{stream.upper()}_COUNT"].offset for stream in STREAMS]
    for offset in offsets:
        written = [step[2] for step in counts.steps if step[:2] == ("write", offset)]
        assert {1 << bit for bit in range(32)} <= set(written)
        assert 20 in [step[2] for step in ends.steps if step[:2] == ("write", offset)]
    (patch,) = {data for address, data in _streams(small, 20) if address == small.place("store", 0)}
    words = [
        isa.decode(patch[k : k + INSTRUCTION_BYTES])
        for k in range(0, len(patch) - INSTRUCTION_BYTES, INSTRUCTION_BYTES)
    ]
    assert {values["wait"] for _, values in words} == {0} and len(words) == 20


def test_a_run_behind_resets(small: Nano) -> None:
    """Hard and soft ones in turn; registers are written again after a hard one only."""
    trial = broken_trial("r", small.program, small.run(), [300, 40, 50])
    waits = [place for place, step in enumerate(trial.steps) if step in (("wait", 300), ("wait", 40), ("wait", 50))]
    hard = trial.steps.index(("reset",))
    first, second = (trial.steps[a:b] for a, b in ((waits[0], waits[1]), (hard, len(trial.steps))))
    assert waits[1] < hard < waits[2] and trial.steps.count(("reset",)) == 1
    assert sum(step[0] == "write" for step in first) == 3 < sum(step[0] == "write" for step in second)
    assert ("irq",) in second and ("irq",) not in first


def test_watchdogs_of_any_size(small: Nano) -> None:
    """Each large bit alone, and what is left out leaves a few cycles."""
    (trial,) = [trial for trial in counter_trials(small) if trial.name == "large watchdogs"]
    offset = register_map(1)["WATCHDOG"].offset
    written = [step[2] for step in trial.steps if step[:2] == ("write", offset)]
    left = [step[1] for step in trial.steps if step[0] == "counters"]
    assert all(watchdog - skipped == 160 for watchdog, skipped in zip(written, left, strict=False))
    assert {bit for bit in range(9, 32)} <= {w.bit_length() - 1 for w in written if (w - 40).bit_count() == 1}


@pytest.mark.parametrize(("name", "wrong"), [("reciprocal", 32763), ("round_shift", 0)])
def test_scaled_programs_show_rare_values(name: str, wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest reciprocal, which only ties have; and each shift."""
    weights = Weights(CONFIG)
    programs = collect([*scaled_programs(weights)], weights)
    right = {task: wanted(programs, task).output for task in programs.programs}
    old = getattr(numerics, name)

    def reciprocal(x: Array) -> tuple[Array, Array]:
        r, e = old(x)
        return np.where(r == 32767, wrong, r), e

    def differing() -> list[bool]:
        return [not np.array_equal(wanted(programs, task).output, right[task]) for task in right]

    if name == "reciprocal":
        monkeypatch.setattr(numerics, name, reciprocal)
        assert differing()[:5] == [False] * 4 + [True]
        return
    for shift in (1, 5, 9, 13, 18):

        def round_shift(value: Array, by: Array, at: int = shift) -> Array:
            return np.where(np.asarray(by) == at, old(value, by) + 1, old(value, by))

        monkeypatch.setattr(numerics, name, round_shift)
        assert any(differing()), shift


def test_scaled_programs_have_every_shift_and_crowd() -> None:
    """Of both multiplications; and as many tokens of a router as each power of two, for each expert."""
    programs = [[isa.decode(data)[1] for data in p.compute] for p in scaled_programs(Weights(CONFIG))]
    shifts, rescales, *_, crowds = programs
    assert {*witness.SHIFTS} <= {values["shift"] for values in shifts if values.get("fresh")}
    assert {*range(32)} <= {v["post_shift"] for v in rescales if v.get("function") in functions_of(CONFIG)}
    pairs = itertools.pairwise(crowds)
    counts = [(b["expert"], a["token_count"], a["append"]) for a, b in pairs if a.get("function") == Function.ROUTE]
    each = [(expert, 1 << bit, 0) for expert in range(CONFIG.experts) for bit in range(8)]
    assert counts[: len(each)] == each and sum(append for *_, append in counts) == CONFIG.experts


def test_scaled_programs_saturate() -> None:
    weights = Weights(CONFIG)
    programs = collect([*scaled_programs(weights)], weights)
    found = np.concatenate([wanted(programs, task).output for task in programs.programs])
    assert found.min() == -32768 and found.max() == 32767 and np.mean(np.abs(found.astype(int)) < 4) > 0.02


def test_a_memory_moves() -> None:
    text = "    longint image_base, window_bytes;\n    offset = longint'(addr) - BASE;\n"
    assert "offset = longint'(addr) - BASE - moved;" in movable(text) and "longint moved " in movable(text)
    with pytest.raises(ValueError, match="must have"):
        movable("module ddr; endmodule")
