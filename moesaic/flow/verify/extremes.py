"""Programs whose numbers are far from any that a compiler writes: addresses, strides, shapes, weights to be skipped."""

import random

from moesaic.flow.verify.nano import Nano
from moesaic.flow.verify.runs import Case
from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import Field, Function, Opcode

__all__ = ["draw"]

WAYS = ("src", "dst", "kv", "tap", "offset", "addr", "stride", "token_base")  # in names of fields that say where


def _value(rng: random.Random, bits: int) -> int:
    """A power of two, all but one, or any."""
    most, one = (1 << bits) - 1, 1 << rng.randrange(bits)
    return rng.choice((one, most ^ one, most, rng.randrange(most + 1)))


def _changed(nano: Nano, number: int, stream: str, index: int, values: dict[str, int]) -> Case:
    opcode, fields = nano.instruction(stream, index)
    run = nano.patched(stream, index, isa.encode(opcode, fields | values))
    return Case(number, f"{stream} {index}: {values}", run)


def _far(nano: Nano, rng: random.Random, number: int) -> Case:
    """Other places in an instruction, which then leaves a memory, or not."""
    stream = rng.choice(("load", "compute", "compute", "compute", "store"))
    index = rng.randrange(nano.count(stream))
    opcode, _ = nano.instruction(stream, index)
    fields = [field for field in isa.FORMATS[opcode].fields[1:] if any(way in field.name for way in WAYS)]
    fields = fields or [field for field in isa.FORMATS[opcode].fields[1:] if field.bits > 1]
    chosen: list[Field] = rng.sample(fields, min(len(fields), rng.choice((1, 1, 2, 3))))
    return _changed(nano, number, stream, index, {field.name: _value(rng, field.bits) for field in chosen})


def _any(nano: Nano, rng: random.Random, number: int) -> Case:
    """Another number in any field."""
    stream = rng.choice(("load", "compute", "compute", "compute", "store"))
    index = rng.randrange(nano.count(stream))
    field = rng.choice(isa.FORMATS[nano.instruction(stream, index)[0]].fields[1:])
    return _changed(nano, number, stream, index, {field.name: _value(rng, field.bits)})


def _skip(nano: Nano, rng: random.Random, number: int) -> Case:
    """A matrix of an expert without tokens, which was fetched early, they say: what is to be skipped never comes."""
    fields = {name: _value(rng, isa.FORMATS[Opcode.MATMUL].field(name).bits) for name in ("out_count", "in_blocks")}
    skipped = {"expert_valid": 1, "speculative": 1, "function": Function.ADD} | fields
    run = nano.patched("compute", 0, isa.encode(Opcode.MATMUL, skipped))
    return Case(number, f"skipped: {fields}", run)


_KINDS = (_far, _far, _far, _far, _any, _any, _skip)


def draw(nano: Nano, seed: int, number: int) -> Case:
    """The case of that number. Any ending will do, as long as it has a name."""
    rng = random.Random(f"extremes {seed} {number}")
    return rng.choice(_KINDS)(nano, rng, number)
