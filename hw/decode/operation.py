"""What travels with the vectors: one operation per streamed vector, one context per instruction."""

from amaranth.hdl import unsigned
from amaranth.lib import data

from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import FORMATS, Opcode
from moesaic.hw.spec.latency import CONTEXTS

__all__ = ["CONTEXTS", "context_layout", "operation_layout"]

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
    "gated",
    "append",
)


def context_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What the write-back needs to know of an instruction, kept once per instruction in flight: fields of it, and with
    `packed_keys` whether it packs keys, ``packs``.
    """
    layout = FORMATS[Opcode.MATMUL]
    fields = {name: unsigned(layout.field(name).bits) for name in _CONTEXT_FIELDS}
    return data.StructLayout(fields | ({"packs": unsigned(1)} if config.packed_keys else {}))


def operation_layout() -> data.StructLayout:
    """One streamed vector's companion.

    ``vector``: there is one (a retirement of an empty instruction travels alone). ``token``: token number, or softmax
    state. ``pass_first``: first vector that meets a new stationary block. ``acc_first``, ``acc_last``: first, last
    block of inputs. ``block_end``: last vector of a block of outputs. ``end``: last of its instruction.
    ``attention``: keys or values are stationary. ``attend``: the function is ATTEND. ``bank``: parameters. ``extra``:
    the vector meets the extra key too.
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
            "attend": 1,
            "bank": 1,
            "extra": 1,
            "score": unsigned(16),
        }
    )
