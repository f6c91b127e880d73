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
    if stationary is not Stationary.WEIGHTS:
        end = f["lane_low"] + f["lane_count"]
        require(f["lane_count"] > 0, "lane_count must be positive", f["lane_count"])
        require(end <= config.lanes, f"lane_low + lane_count must be at most {config.lanes}", end)
    if stationary is Stationary.VALUES:
        within("key_count", (f["in_blocks"] - 1) * config.lanes + 1, f["in_blocks"] * config.lanes)
    if function is Function.ROUTE:
        within("out_count", 1, config.experts)
        within("top_k", 1, min(config.max_top_k, f["out_count"]))
    if stream is Stream.NORMALISED and f["shift_block"]:
        require(f["in_blocks"] == 2 * f["shift_block"], "NORMALISED in two planes must have in_blocks = 2 * shift_block", f["in_blocks"])
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
