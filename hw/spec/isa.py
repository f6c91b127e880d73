"""The instruction set: one table of layouts, used by the compiler, the functional simulator, the RTL and the
documentation.

An accelerator runs three instruction streams at once, each fetched on its own: *load* (weights from DDR into the
prefetch buffer), *compute* (the array) and *store* (results to DDR). Every instruction is 256 bits, little endian;
fields are packed from bit 0 upwards in the order of the tables.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from moesaic.hw.spec.functions import FUNCTIONS, Function, Stationary, functions_that
from moesaic.hw.spec.tables import INV_DIM_BITS, LOGIT_FRACTION_BITS

__all__ = [
    "FORMATS",
    "INSTRUCTION_BITS",
    "INSTRUCTION_BYTES",
    "Base",
    "Field",
    "Format",
    "Function",
    "GateKind",
    "Memory",
    "Opcode",
    "Stationary",
    "Stream",
    "decode",
    "disassemble",
    "encode",
    "to_markdown",
]

INSTRUCTION_BYTES = 32
INSTRUCTION_BITS = 8 * INSTRUCTION_BYTES


class Opcode(enum.IntEnum):
    """What an instruction does. 0 is not an opcode, so that empty memory is refused."""

    MATMUL = 1  # compute: stationary blocks x streamed vectors, with everything that happens to the result
    NORM = 2  # compute: constants of the LayerNorm that later MATMULs read through
    COPY = 3  # compute: weight stream into an on-chip memory (image, position embedding)
    FETCH = 4  # load: DDR into the prefetch buffer
    STORE = 5  # store: residual memory to DDR


class Stream(enum.IntEnum):
    """What is streamed past the stationary block."""

    ACTIVATION = 0  # activation memory, int8
    NORMALISED = 1  # residual memory through LayerNorm, int8
    PROBABILITY = 2  # activation memory, distances from a maximum, as probabilities at the query's level


class Memory(enum.IntEnum):
    """On-chip memories an instruction can name."""

    ACTIVATION = 0
    KV = 1
    RESIDUAL = 2


class Base(enum.IntEnum):
    """Base address registers of a FETCH, one set per weight port."""

    WEIGHT = 0
    IMAGE = 1
    TASK = 2


class GateKind(enum.IntEnum):
    """Normalisation of the gate's scores."""

    NOISY_VMOE = 0  # softmax over all experts, then the k largest, not renormalised
    NOISY = 1  # the k largest, then softmax over those


@dataclass(frozen=True)
class Field:
    """One field of an instruction: `bits` wide, unsigned."""

    name: str
    bits: int
    doc: str
    values: type[enum.IntEnum] | None = None


@dataclass(frozen=True)
class Format:
    """Layout of one opcode; `offsets` maps each field to its lowest bit."""

    opcode: Opcode
    stream: str
    doc: str
    fields: tuple[Field, ...]

    @property
    def offsets(self) -> dict[str, int]:
        position, result = 0, {}
        for field in self.fields:
            result[field.name] = position
            position += field.bits
        return result

    @property
    def bits(self) -> int:
        return sum(field.bits for field in self.fields)

    def field(self, name: str) -> Field:
        """The field called `name`; KeyError names the opcode if there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"{self.opcode.name} has no field {name!r}")


_WRITTEN = ", ".join(function.name for function in functions_that("written"))
_ACTIVATIONS = ", ".join(function.name for function, use in FUNCTIONS.items() if use.activation)
_SCALED = ", ".join(function.name for function, use in FUNCTIONS.items() if use.activation and not use.squared)
_GATES = ", ".join(function.name for function in functions_that("gate"))

_COMPUTE_HEAD = (
    Field("opcode", 4, "operation", Opcode),
    Field("mark", 1, "pulse `mark` when this instruction retires: the end of a block"),
    Field("feed_wait", 6, "start streaming only when the instruction this many places earlier has retired; 0: no wait"),
    Field("load_wait", 6, "the same for loading the first stationary block"),
)

FORMATS: dict[Opcode, Format] = {
    f.opcode: f
    for f in (
        Format(
            Opcode.MATMUL,
            "compute",
            "For each block of `rows` outputs, for each block of `lanes` inputs: load a stationary block, stream the "
            "tokens past it, accumulate; after the last input block apply `function`.",
            (
                *_COMPUTE_HEAD,
                Field(
                    "expert_valid",
                    1,
                    "run for one expert's queue: token count and token numbers come from the queue; skipped if it is "
                    "empty",
                ),
                Field("expert", 6, "expert number"),
                Field(
                    "speculative",
                    1,
                    "the weights were fetched whatever the router says: if skipped, drop them from the weight stream",
                ),
                Field(
                    "gather",
                    1,
                    "with expert_valid: the stream is addressed by token number (else by position in the queue)",
                ),
                Field("stationary", 2, "source of the stationary blocks", Stationary),
                Field("stream", 2, "source of the streamed vectors", Stream),
                Field("function", 4, "treatment of the result", Function),
                Field("out_count", 13, "outputs: channels (WEIGHTS, VALUES) or keys (KEYS)"),
                Field("in_blocks", 8, "blocks of `lanes` inputs"),
                Field(
                    "key_count",
                    12,
                    "VALUES: keys; in_blocks must be ceil(key_count / lanes), lanes beyond the last key of the last "
                    "block are loaded as zero",
                ),
                Field("kv_addr", 16, "KEYS, VALUES: first word in the key/value memory"),
                Field("kv_stride", 8, "KEYS, VALUES: words from one key to the next"),
                Field(
                    "lane_low",
                    7,
                    "KEYS: lanes below are loaded as zero. VALUES: channels of the word below are not written",
                ),
                Field("lane_count", 8, "KEYS, VALUES: lanes (channels) from lane_low that belong to the head"),
                Field("token_count", 12, "streamed vectors per block (without expert_valid)"),
                Field(
                    "token_base",
                    12,
                    "number of the first token: index into LayerNorm sums; KEYS, VALUES: index into the softmax state",
                ),
                Field("src_addr", 16, "first word of the stream"),
                Field("src_stride", 8, "words from one token to the next"),
                Field(
                    "tap",
                    1,
                    "NORMALISED, with ROUTE or INT8 to KV: also write the normalised vectors to the activation "
                    "memory, as int8 (wide_result: all their bits)",
                ),
                Field(
                    "tap_addr",
                    16,
                    "first word of that copy; token stride is in_blocks, or shift_block if that is not 0",
                ),
                Field("dst_memory", 2, f"{_WRITTEN}: ACTIVATION or KV", Memory),
                Field("dst_addr", 16, "first word written (ADD: in the residual memory)"),
                Field("dst_stride", 8, "words from one token to the next"),
                Field(
                    "group", 4, "group of `rows` channels within the word at which outputs (and VALUES' channels) start"
                ),
                Field("shift", 6, "right shift of the first requantisation (ATTEND: added to the exponent of 1/sum)"),
                Field(
                    "scalar",
                    16,
                    f"SOFTMAX, ATTEND: multiplier. {_SCALED}: multiplier of the output. ADD with fresh: words from "
                    "where the new residual goes to where the old one lies, modulo 2^16",
                ),
                Field(
                    "post_shift",
                    5,
                    f"{_ACTIVATIONS}: shift of the output. ADD with expert_valid: shift after the score. "
                    f"ROUTE: {LOGIT_FRACTION_BITS} less the logits' fraction bits",
                ),
                Field(
                    "shift_block",
                    8,
                    "blocks of inputs in a plane, if the stream or the stationary blocks come in two; else 0",
                ),
                Field("residual_shift", 3, "ADD: the old residual is shifted right by this, rounded"),
                Field("fresh", 1, "ADD: restart the LayerNorm sums with this instruction's first output block"),
                Field("top_k", 3, "ROUTE: experts per token"),
                Field("gate_kind", 1, "ROUTE: normalisation of scores", GateKind),
                Field("narrow", 1, "WEIGHTS: 4 bits each, two rows in a byte"),
                Field("wide_stream", 1, "ACTIVATION, NORMALISED: the stream comes in two planes, the upper one first"),
                Field(
                    "wide_stationary",
                    1,
                    "the stationary blocks come in two planes, the upper one first; biases count 256 units",
                ),
                Field("wide_result", 1, f"{_WRITTEN}: results of 16 bits; the same for a tap"),
                Field(
                    "gated",
                    1,
                    f"{_GATES}: blocks of outputs come in pairs, a gate, which is activated, and then the values that "
                    "it multiplies and that are written; out_count counts both",
                ),
                Field("append", 1, "ROUTE: keep what the queues hold, and append to it"),
                Field("extra", 1, "KEYS, VALUES: the key behind out_count, key_count too, without a pass of its own"),
            ),
        ),
        Format(
            Opcode.NORM,
            "compute",
            "Set the constants of the LayerNorm or RMSNorm that the MATMULs that follow read through.",
            (
                *_COMPUTE_HEAD,
                Field("dim", 12, "channels per token"),
                Field("inv_dim", INV_DIM_BITS, "2^18 / dim = inv_dim * 2^-inv_dim_shift"),
                Field("inv_dim_shift", 6, ""),
                Field("scale", 16, "dim / (step of the normalised int8) = scale * 2^-(shift - 4)"),
                Field("shift", 6, "right shift after normalising, before the exponent of the token's 1/sqrt is added"),
                Field("epsilon", 40, "dim^2 * eps in squared residual steps, at least 1"),
                Field("rms", 1, "RMSNorm: the sum of the channels counts as 0, so that no mean is subtracted"),
            ),
        ),
        Format(
            Opcode.COPY,
            "compute",
            "Move words from the weight stream into an on-chip memory.",
            (
                *_COMPUTE_HEAD,
                Field("memory", 2, "ACTIVATION (lanes x int8 per word) or RESIDUAL (lanes x int16 per word)", Memory),
                Field("addr", 16, "first word written"),
                Field(
                    "words",
                    17,
                    "weight-stream words moved; each holds load_rows activation words or load_rows/2 residual words, "
                    "lowest first",
                ),
            ),
        ),
        Format(
            Opcode.FETCH,
            "load",
            "Read one contiguous piece on every weight port into the prefetch buffer.",
            (
                Field("opcode", 4, "operation", Opcode),
                Field("base", 2, "base address registers", Base),
                Field("offset", 32, "beats from the base, on each port"),
                Field("beats", 24, "beats on each port: a multiple of beats_per_word"),
                Field("expert_valid", 1, "skip if this expert's queue is empty"),
                Field("expert", 6, "expert number"),
                Field(
                    "speculative", 1, "with expert_valid: fetch without waiting for the router, and whatever it says"
                ),
                Field("wait", 24, "start when this many compute instructions have retired (0: at once)"),
            ),
        ),
        Format(
            Opcode.STORE,
            "store",
            "Write residual words to DDR, a run of them on each weight port.",
            (
                Field("opcode", 4, "operation", Opcode),
                Field("src_addr", 16, "first word in the residual memory"),
                Field("words", 16, "residual words"),
                Field("offset", 40, "bytes from the result base; a multiple of the port width"),
                Field("wait", 24, "start when this many compute instructions have retired"),
            ),
        ),
    )
}

for _format in FORMATS.values():
    if _format.bits > INSTRUCTION_BITS:
        raise AssertionError(f"{_format.opcode.name} takes {_format.bits} bits")


def encode(opcode: Opcode, values: Mapping[str, int]) -> bytes:
    """Pack an instruction.

    Parameters
    ----------
    opcode : Opcode
    values : mapping of field name to unsigned integer; fields left out are 0

    Raises
    ------
    KeyError
        If a name is not a field of this opcode.
    ValueError
        If a value does not fit its field.
    """
    layout = FORMATS[opcode]
    word, offsets = int(opcode), layout.offsets
    for name, value in values.items():
        field = layout.field(name)
        if name == "opcode":
            continue
        if not 0 <= int(value) < 1 << field.bits:
            raise ValueError(f"{opcode.name}.{name} must be between 0 and {(1 << field.bits) - 1}, not {value!r}")
        word |= int(value) << offsets[name]
    return word.to_bytes(INSTRUCTION_BYTES, "little")


def decode(data: bytes) -> tuple[Opcode, dict[str, int]]:
    """Unpack an instruction.

    Raises
    ------
    ValueError
        If the length, the opcode or an enumerated field is not valid, or unused bits are set.
    """
    if len(data) != INSTRUCTION_BYTES:
        raise ValueError(f"an instruction must be {INSTRUCTION_BYTES} bytes, not {len(data)}")
    word = int.from_bytes(data, "little")
    code = word & 15
    if code not in FORMATS:
        raise ValueError(f"opcode must be one of {sorted(int(o) for o in Opcode)}, not {code}")
    layout = FORMATS[Opcode(code)]
    if word >> layout.bits:
        raise ValueError(f"unused bits of {layout.opcode.name} must be 0, not {word >> layout.bits:#x}")
    values, position = {}, 0
    for field in layout.fields:
        value = word >> position & (1 << field.bits) - 1
        position += field.bits
        if field.values is not None and value not in list(field.values):
            raise ValueError(
                f"{layout.opcode.name}.{field.name} must be one of {[int(v) for v in field.values]}, not {value}"
            )
        values[field.name] = value
    return layout.opcode, values


def disassemble(data: bytes) -> str:
    """One line of text: the opcode and every field that is not 0, enumerations by name."""
    opcode, values = decode(data)
    parts = []
    for field in FORMATS[opcode].fields[1:]:
        value = values[field.name]
        if field.values is not None:
            if value or field.name in ("stationary", "stream", "function"):
                parts.append(f"{field.name}={field.values(value).name}")
        elif value:
            parts.append(f"{field.name}={value}")
    return f"{opcode.name:<6} " + " ".join(parts)


def to_markdown() -> str:
    """The tables of `docs/isa.md`."""
    lines = []
    for layout in FORMATS.values():
        lines += [
            f"### {layout.opcode.name} ({layout.stream} stream, opcode {int(layout.opcode)})",
            "",
            layout.doc,
            "",
            "| bits | field | meaning |",
            "|---|---|---|",
        ]
        offsets = layout.offsets
        for field in layout.fields:
            low = offsets[field.name]
            span = f"{low + field.bits - 1}:{low}" if field.bits > 1 else f"{low}"
            choice = "" if field.values is None else " (" + ", ".join(f"{int(v)} {v.name}" for v in field.values) + ")"
            lines.append(f"| {span} | `{field.name}` | {field.doc}{choice} |")
        lines.append("")
    return "\n".join(lines)
