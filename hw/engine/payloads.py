"""What travels through the engine: decoded instructions, one operation per streamed vector, one context per
instruction.
"""

from amaranth.hdl import unsigned
from amaranth.lib import data

from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import FORMATS, INSTRUCTION_BITS, Opcode

__all__ = ["CONTEXTS", "INDEX_BITS", "context_layout", "instruction_layout", "issued_layout", "operation_layout"]

CONTEXTS = 8  # instructions in flight between feeder and retirement; a power of two
INDEX_BITS = 24  # position of an instruction in the compute stream

_CONTEXT_FIELDS = (
    "function",
    "stationary",
    "expert_valid",
    "out_count",
    "lane_low",
    "lane_count",
    "dst_memory",
    "dst_addr",
    "dst_stride",
    "group",
    "shift",
    "scalar",
    "post_shift",
    "residual_shift",
    "fresh",
    "top_k",
    "gate_kind",
    "wide_stationary",
    "wide_result",
)


def instruction_layout(opcode: Opcode) -> data.StructLayout:
    """The fields of an instruction, as `hw.spec.isa` packs them, padded to 256 bits."""
    layout = FORMATS[opcode]
    fields = {field.name: unsigned(field.bits) for field in layout.fields}
    fields["unused"] = unsigned(INSTRUCTION_BITS - layout.bits)
    return data.StructLayout(fields)


def issued_layout() -> data.StructLayout:
    """A compute instruction on its way to loader and feeder."""
    return data.StructLayout(
        {
            "index": unsigned(INDEX_BITS),
            "body": unsigned(INSTRUCTION_BITS),
        }
    )


def context_layout() -> data.StructLayout:
    """What the write-back needs to know of an instruction, kept once per instruction in flight."""
    layout = FORMATS[Opcode.MATMUL]
    return data.StructLayout({name: unsigned(layout.field(name).bits) for name in _CONTEXT_FIELDS})


def operation_layout(config: AcceleratorConfig) -> data.StructLayout:
    """One streamed vector's companion.

    ``vector``: there is one (a retirement of an empty instruction travels alone). ``token``: token number, or softmax
    state. ``pass_first``: first vector that meets a new stationary block. ``acc_first``, ``acc_last``: first, last
    block of inputs. ``block_end``: last vector of a block of outputs. ``end``: last of its instruction. ``bank``:
    parameters.
    """
    return data.StructLayout(
        {
            "vector": 1,
            "end": 1,
            "context": range(CONTEXTS),
            "slot": unsigned(12),
            "token": unsigned(12),
            "block": unsigned(11),
            "pass_first": 1,
            "slot_first": 1,
            "slot_last": 1,
            "acc_first": 1,
            "acc_last": 1,
            "acc_shift": 1,
            "block_end": 1,
            "block_final": 1,
            "weights": 1,
            "attention": 1,
            "bank": 1,
            "score": unsigned(16),
        }
    )
