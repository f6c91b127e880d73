"""Programs that no compiler writes: every run ends with a name, stays in its window, and harms no later one."""

import random
from dataclasses import replace

from moesaic.flow.verify.nano import STREAMS, Nano
from moesaic.flow.verify.runs import Case, drawn_campaign
from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import INSTRUCTION_BYTES

__all__ = ["PROGRAMS", "draw"]


WATCHDOG = 500  # cycles without progress
LATENCY = 20  # cycles of the memory


def _bits(nano: Nano, rng: random.Random, stream: str, index: int) -> tuple[str, bytes]:
    width = isa.FORMATS[nano.instruction(stream, index)[0]].bits
    places = sorted(rng.sample(range(width), rng.choice((1, 1, 2, 5))))
    word = int.from_bytes(nano.bytes_of(stream, index), "little") ^ sum(1 << place for place in places)
    return f"bits {places} turned over", word.to_bytes(INSTRUCTION_BYTES, "little")


def _field(nano: Nano, rng: random.Random, stream: str, index: int) -> tuple[str, bytes]:
    opcode, values = nano.instruction(stream, index)
    field = rng.choice(isa.FORMATS[opcode].fields[1:])
    most, old = (1 << field.bits) - 1, values[field.name]
    value = rng.choice(
        (0, most, (old + 1) & most, (old - 1) & most, rng.randrange(most + 1), 1 << rng.randrange(field.bits))
    )
    return f"{field.name} {old} -> {value}", isa.encode(opcode, {**values, field.name: value})


def _other(nano: Nano, rng: random.Random, stream: str, index: int) -> tuple[str, bytes]:
    source = rng.choice((stream, stream, rng.choice(STREAMS)))
    place = rng.randrange(nano.count(source))
    return f"replaced by {source} {place}", nano.bytes_of(source, place)


def _swap(nano: Nano, rng: random.Random, stream: str, index: int) -> tuple[str, bytes]:
    parts = [nano.bytes_of(stream, place) for place in range(index, min(index + 2, nano.count(stream)))]
    return "exchanged with the next", b"".join(reversed(parts))


def _cut(nano: Nano, rng: random.Random, stream: str, index: int) -> tuple[str, bytes]:
    return "zeros from here on", bytes(INSTRUCTION_BYTES * (nano.count(stream) - index))


def _noise(nano: Nano, rng: random.Random, stream: str, index: int) -> tuple[str, bytes]:
    return "noise", rng.randbytes(INSTRUCTION_BYTES)


_CHANGES = (_bits, _bits, _bits, _bits, _field, _field, _field, _other, _swap, _cut, _noise)


def draw(nano: Nano, seed: int, number: int) -> Case:
    """The case of that number: one change in one instruction, or another length of a stream."""
    rng = random.Random(f"{seed} {number}")
    stream = rng.choice(("load", "compute", "compute", "compute", "store"))
    if rng.random() < 0.05:
        length = rng.choice((0, rng.randrange(nano.count(stream)), nano.count(stream) + rng.randrange(1, 5)))
        return Case(number, f"{stream}: {length} instructions", nano.run(overrides={f"{stream}_count": length}))
    index = rng.randrange(nano.count(stream))
    what, data = rng.choice(_CHANGES)(nano, rng, stream, index)
    return Case(number, f"{stream} {index}: {what}", nano.patched(stream, index, data))


def _soon(nano: Nano, seed: int, number: int) -> Case:
    """The same, with a memory and a watchdog that keep a million of them no longer than they must."""
    case = draw(nano, seed, number)
    return replace(case, run=replace(case.run, watchdog=WATCHDOG, memory={"latency": LATENCY}))


PROGRAMS = drawn_campaign("programs", "changed programs on RTL", _soon, chunk=1000)
