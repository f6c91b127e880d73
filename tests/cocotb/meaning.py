"""Which instructions have a meaning, as docs/isa.md says in prose: written apart from the code's table."""

from collections.abc import Mapping

from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Opcode

INT8, GELU, ADD, SOFTMAX, ATTEND, ROUTE, RELU, RELU2, SILU, SIGMOID = range(10)
ACTIVATIONS = (GELU, RELU, RELU2, SILU, SIGMOID)
WEIGHTS, KEYS, VALUES = range(3)
ACTIVATION, NORMALISED, PROBABILITY = range(3)
TO_ACTIVATION, TO_KV, TO_RESIDUAL = range(3)


def meaningless(opcode: Opcode, f: Mapping[str, int], config: AcceleratorConfig) -> bool:
    """Whether an instruction with well-formed fields means nothing on a configuration."""
    if opcode is Opcode.NORM:
        return not 0 < f["dim"] <= config.max_dim or not f["epsilon"]
    if opcode is Opcode.COPY:
        return f["memory"] not in (TO_ACTIVATION, TO_RESIDUAL) or not f["words"]
    if opcode is Opcode.FETCH:
        stripes = config.load_rows * config.lanes * 8 // (config.ports * config.port_bits)  # in a word
        return not f["beats"] or f["beats"] % stripes != 0 or bool(f["expert_valid"] and f["expert"] >= config.experts)
    if opcode is Opcode.STORE:
        whole = f["words"] and f["offset"] * 8 % config.port_bits == 0
        return not whole or f["src_addr"] + f["words"] > config.residual_words
    return _matmul(f, config)


def _matmul(f: Mapping[str, int], config: AcceleratorConfig) -> bool:
    function, stationary, stream = f["function"], f["stationary"], f["stream"]
    if stationary != {SOFTMAX: KEYS, ATTEND: VALUES}.get(function, WEIGHTS):
        return True
    if (function == SILU and not config.silu) or (function == SIGMOID and not config.sigmoid):
        return True
    if (stream == PROBABILITY) != (stationary == VALUES):
        return True
    if not f["out_count"] or not f["in_blocks"] or f["group"] * config.rows >= config.lanes:
        return True
    if f["expert_valid"]:
        if f["expert"] >= config.experts or function not in (INT8, ADD, *ACTIVATIONS):
            return True
    else:
        states = config.max_tokens * (1 if stationary == WEIGHTS else 2)
        if not 0 < f["token_count"] <= config.max_tokens or f["token_base"] + f["token_count"] > states:
            return True
    if f["narrow"] and (stationary != WEIGHTS or not config.narrow_weights or f["wide_stationary"]):
        return True
    passes = (1 + f["wide_stream"]) * (1 + f["wide_stationary"])
    if (f["shift_block"] != 0) if passes == 1 else (f["in_blocks"] != passes * f["shift_block"]):
        return True
    if f["wide_stream"] and stream == PROBABILITY:
        return True
    if f["wide_result"] and function in (ADD, SOFTMAX):
        return True
    if not config.wide_operands and (
        f["wide_stationary"] or f["wide_result"] or (f["wide_stream"] and stream == ACTIVATION)
    ):
        return True
    if f["gated"] and (not config.gated_mlp or function not in ACTIVATIONS or function == RELU2):
        return True
    if f["gated"] and -(-f["out_count"] // config.rows) % 2:
        return True
    if f["extra"] and (not config.extra_key or stationary == WEIGHTS or f["wide_stream"] or f["wide_stationary"]):
        return True
    if stationary != WEIGHTS and not 0 < f["lane_count"] <= config.lanes - f["lane_low"]:
        return True
    if stationary == VALUES and -(-f["key_count"] // config.lanes) != f["in_blocks"] // passes:
        return True
    if stationary == VALUES and not f["key_count"]:
        return True
    if f["append"] and function != ROUTE or f["scalar"] and function == ADD and not f["fresh"]:
        return True
    if function == ROUTE and not 0 < f["top_k"] <= min(f["out_count"], config.max_top_k):
        return True
    if function == ROUTE and (f["out_count"] > config.experts or f["post_shift"] > 7):
        return True
    if f["tap"]:
        apart = function == ROUTE or (function == INT8 and f["dst_memory"] == TO_KV)
        if stream != NORMALISED or not apart:
            return True
    return function in (INT8, ATTEND, *ACTIVATIONS) and f["dst_memory"] == TO_RESIDUAL
