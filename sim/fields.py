"""Combinations of MATMUL fields that have a meaning."""

from collections.abc import Callable, Mapping
from typing import NoReturn

from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory, Stationary, Stream

__all__ = ["check_matmul"]

_STATIONARY = {Function.SOFTMAX: Stationary.KEYS, Function.ATTEND: Stationary.VALUES}  # all others: WEIGHTS


def check_matmul(f: Mapping[str, int], config: AcceleratorConfig, fail: Callable[[str], NoReturn]) -> None:
    """Call `fail` with the reason if a decoded MATMUL means nothing on this configuration."""
    stationary, stream, function = Stationary(f["stationary"]), Stream(f["stream"]), Function(f["function"])

    def require(ok: bool, what: str, value: object) -> None:
        if not ok:
            fail(f"{what}, not {value!r}")

    def within(name: str, low: int, high: int) -> None:
        require(low <= f[name] <= high, f"{name} must be between {low} and {high}", f[name])

    require(f["out_count"] > 0, "out_count must be positive", f["out_count"])
    require(f["in_blocks"] > 0, "in_blocks must be positive", f["in_blocks"])
    within("group", 0, config.groups - 1)
    wanted = _STATIONARY.get(function, Stationary.WEIGHTS)
    require(stationary is wanted, f"function {function.name} must have stationary {wanted.name}", stationary.name)
    require(
        (stream is Stream.PROBABILITY) == (stationary is Stationary.VALUES),
        "stream PROBABILITY must go with stationary VALUES",
        f"{stream.name} with {stationary.name}",
    )
    if f["expert_valid"]:
        within("expert", 0, config.experts - 1)
        require(stationary is Stationary.WEIGHTS, "an expert's stationary must be WEIGHTS", stationary.name)
        require(function is not Function.ROUTE, "an expert's function must not be ROUTE", function.name)
    else:
        within("token_count", 1, config.max_tokens)
        limit = config.max_tokens if stationary is Stationary.WEIGHTS else 2 * config.max_tokens
        end = f["token_base"] + f["token_count"]
        require(end <= limit, f"token_base + token_count must be at most {limit}", end)
    if f["narrow"]:
        require(stationary is Stationary.WEIGHTS, "stationary must be WEIGHTS if narrow", stationary.name)
        require(config.narrow_weights, f"narrow must be 0 on configuration '{config.name}'", f["narrow"])
    planes, four = f["wide_stream"] or f["wide_stationary"], f["wide_stream"] and f["wide_stationary"]
    if planes:
        wanted_blocks = f["shift_block"] << (2 if four else 1)
        require(
            f["in_blocks"] == wanted_blocks,
            f"in planes, in_blocks must be {4 if four else 2} * shift_block",
            f["in_blocks"],
        )
    else:
        require(f["shift_block"] == 0, "shift_block must be 0 without planes", f["shift_block"])
    if f["wide_stream"]:
        require(stream is not Stream.PROBABILITY, "wide_stream must go with ACTIVATION or NORMALISED", stream.name)
    if f["wide_stationary"]:
        require(not f["narrow"], "wide_stationary must go without narrow", f["narrow"])
    if f["wide_result"]:
        written = (Function.INT8, Function.GELU, Function.ATTEND, Function.ROUTE)
        require(function in written, "wide_result must go with INT8, GELU, ATTEND or ROUTE", function.name)
    if not config.wide_operands:
        of_wide = f["wide_stationary"] or f["wide_result"] or (f["wide_stream"] and stream is not Stream.NORMALISED)
        require(not of_wide, f"operands and results must have 8 bits on configuration '{config.name}'", "16")
    if stationary is not Stationary.WEIGHTS:
        end = f["lane_low"] + f["lane_count"]
        require(f["lane_count"] > 0, "lane_count must be positive", f["lane_count"])
        require(end <= config.lanes, f"lane_low + lane_count must be at most {config.lanes}", end)
    if stationary is Stationary.VALUES:
        key_blocks = f["shift_block"] if planes else f["in_blocks"]
        within("key_count", (key_blocks - 1) * config.lanes + 1, key_blocks * config.lanes)
    if function is Function.ROUTE:
        within("out_count", 1, config.experts)
        within("top_k", 1, min(config.max_top_k, f["out_count"]))
    if f["tap"]:
        require(
            stream is Stream.NORMALISED
            and (function is Function.ROUTE or (function is Function.INT8 and f["dst_memory"] == Memory.KV)),
            "tap must go with NORMALISED, and ROUTE or INT8 to KV",
            f"{stream.name} and {function.name}",
        )
    if function in (Function.INT8, Function.GELU, Function.ATTEND):
        memory = Memory(f["dst_memory"])
        require(memory is not Memory.RESIDUAL, "dst_memory must be ACTIVATION or KV", memory.name)
