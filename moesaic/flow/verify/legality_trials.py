"""Trials of single instructions, legal or just not: each part of the checks decides in one of them, as 1 and as 0."""

import functools
import random
from collections.abc import Iterator, Mapping, Sequence

from moesaic.flow.verify.legal_programs import LegalProgram, Weights, draw_program
from moesaic.flow.verify.nano import STREAMS, Nano
from moesaic.flow.verify.sensitive import Judged, sensitive
from moesaic.flow.verify.trial import Script, Trial
from moesaic.flow.verify.tried import CONFIG
from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import FORMATS, INSTRUCTION_BITS, INSTRUCTION_BYTES, Opcode
from moesaic.hw.spec.registers import ErrorCode

__all__ = ["instructions", "legality_trials"]

PROGRAMS = 24  # legal ones, whose instructions are changed
SHORT = 60  # cycles of the watchdog: a legal instruction waits for weights that never come
NEAR = {"latency": 2}
WAITS = ("feed_wait", "load_wait")  # for instructions before
SMALL = 4  # bits of a field of which every value is tried
KINDS = 40  # of an opcode's instructions that are changed
PAIRS = 100  # changes of two fields of each

Fields = dict[str, int]


def _limits() -> list[int]:
    """Numbers that rules are about, and their neighbours."""
    names = ("rows", "lanes", "max_tokens", "residual_words", "experts", "max_top_k", "max_dim", "groups")
    numbers = [getattr(CONFIG, name) for name in names]
    numbers += [2 * CONFIG.max_tokens, CONFIG.beats_per_word, CONFIG.port_bits // 8]
    return sorted({number + by for number in numbers for by in (-1, 0, 1)})


def _kinds(programs: Sequence[LegalProgram]) -> dict[Opcode, list[Fields]]:
    """Instructions of programs, one of each kind: by opcode, those that differ in a small field."""
    found: dict[Opcode, dict[tuple[int, ...], Fields]] = {opcode: {} for opcode in Opcode}
    for program in programs:
        for data in (*program.load, *program.compute, *program.store):
            opcode, values = isa.decode(data)
            values |= {name: 0 for name in WAITS if name in values}
            small = tuple(values[f.name] for f in FORMATS[opcode].fields[1:] if f.bits <= SMALL and f.name != "mark")
            found[opcode].setdefault(small, {name: value for name, value in values.items() if name != "opcode"})
    return {opcode: [*kinds.values()][:KINDS] for opcode, kinds in found.items()}


def _values(field: isa.Field, value: int) -> set[int]:
    most = (1 << field.bits) - 1
    if field.bits <= SMALL:
        return set(range(most + 1))
    near = {0, 1, most, value - 1, value + 1, 2 * value, *(value ^ 1 << place for place in range(field.bits))}
    return {number for number in (*near, *_limits()) if 0 <= number <= most}


def _changed(opcode: Opcode, values: Fields, rng: random.Random) -> Iterator[Fields]:
    """An instruction as it is, with another number in a field, and with others in two."""
    yield values
    fields = [field for field in FORMATS[opcode].fields[1:] if field.name not in WAITS]
    changes = {field.name: sorted(_values(field, values.get(field.name, 0))) for field in fields}
    for name, numbers in changes.items():
        yield from ({**values, name: number} for number in numbers)
    for _ in range(PAIRS):
        yield {**values, **{name: rng.choice(changes[name]) for name in rng.sample(sorted(changes), 2)}}


def _words(opcode: Opcode, kinds: Sequence[Fields]) -> Iterator[tuple[int, bool]]:
    """Instructions, and whether they must be refused; each unused bit too."""
    rng = random.Random(opcode.name)
    drawn = [values for kind in kinds for values in _changed(opcode, kind, rng)]
    judged = Judged(opcode, drawn, CONFIG)
    layout = FORMATS[opcode]

    def word(values: Mapping[str, int]) -> int:
        fields = {"opcode": opcode, **values}
        return sum(fields.get(name, 0) << offset for name, offset in layout.offsets.items())

    for place in sensitive(judged):
        yield word(drawn[place]), bool(judged.refused[place])
    legal = drawn[int(judged.refused.argmin())]
    yield from ((word(legal) | 1 << bit, True) for bit in range(layout.bits, INSTRUCTION_BITS))
    # There is no earlier instruction to wait for.
    waits = [layout.field(name) for name in WAITS if name in layout.offsets]
    yield from ((word({**legal, field.name: 1 << bit}), True) for field in waits for bit in range(field.bits))


@functools.cache
def instructions() -> dict[Opcode, tuple[tuple[int, bool], ...]]:
    """Words of each opcode, and whether each must be refused; around the instructions of legal programs."""
    weights = Weights(CONFIG)
    kinds = _kinds([draw_program(random.Random(f"checks {number}"), weights) for number in range(PROGRAMS)])
    return {opcode: tuple(_words(opcode, kinds[opcode])) for opcode in Opcode}


def _trial(nano: Nano, opcode: Opcode) -> Trial:
    """Instructions alone in their stream, one after the other."""
    stream, script = FORMATS[opcode].stream, Script(nano.program)
    counts = {f"{name}_count": int(name == stream) for name in STREAMS}
    script.configure(nano.run(overrides={**counts, "watchdog": SHORT}, memory=NEAR))
    for word, refused in instructions()[opcode]:
        script.poke(nano.place(stream, 0), word.to_bytes(INSTRUCTION_BYTES, "little"))
        script.set("irq_status", script.table["IRQ_STATUS"].mask)
        script.command("start")
        script.steps.append(("irq",))
        script.judged(ErrorCode.BAD_FIELD, refused)
    script.poke(nano.place(stream, 0), nano.bytes_of(stream, 0))
    script.reset()
    script.run(nano.run())
    return script.trial(f"checks of {opcode.name}")


def legality_trials(nano: Nano) -> list[Trial]:
    """A trial for each opcode; a good run is the last of each."""
    return [_trial(nano, opcode) for opcode in Opcode]
