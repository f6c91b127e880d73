"""What can be known to be wrong before anything is compiled."""

from collections.abc import Sequence

import numpy as np

from moesaic.compiler.ir import CompileError
from moesaic.compiler.layers.rooms import room
from moesaic.golden.layers.layer import Source
from moesaic.golden.layers.linear import READS, QuantLinear
from moesaic.golden.numerics import IntArray
from moesaic.golden.qmodel import QuantModel
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.tables import DIGITS_TOP

__all__ = ["check"]


# What matrices may read, by where it comes from.
_NARROW = {Source.NORMALISED: ("streamed", "planes"), Source.TAPPED: ("int8",), Source.STORED: ("int8",)}
_WIDE = {Source.NORMALISED: ("planes",), Source.TAPPED: ("planes",), Source.STORED: ("int16",)}


def _check_linear(
    linear: QuantLinear, config: AcceleratorConfig, shape: tuple[int, int], reads: tuple[str, ...]
) -> None:
    def require(ok: bool, what: str, requirement: str, value: object) -> None:
        if not ok:
            raise CompileError(f"layer '{linear.name}': {what} must be {requirement}, not {value!r}")

    def within(values: IntArray, low: int, high: int) -> bool:
        return bool(np.all((values.astype(np.int64) >= low) & (values.astype(np.int64) <= high)))

    require(linear.weight.shape == shape, "weight", f"of shape {shape}", linear.weight.shape)
    require(linear.bias.shape == shape[:1], "bias", f"of shape {shape[:1]}", linear.bias.shape)
    require(linear.mult.shape == shape[:1], "mult", f"of shape {shape[:1]}", linear.mult.shape)
    require(linear.reads in reads, "input", " or ".join(reads), linear.reads)
    require(linear.bits in (16, 8, 4), "bits", "16, 8 or 4", linear.bits)
    require(
        linear.bits != 4 or config.narrow_weights,
        "weights",
        f"of 8 bits on configuration '{config.name}', which has no narrow_weights",
        linear.bits,
    )
    require(
        linear.passes == 1 or linear.reads == "planes" and linear.bits <= 8 or config.wide_operands,
        "operands",
        f"of 8 bits on configuration '{config.name}', which has no wide_operands",
        f"{linear.bits}-bit weights on {linear.reads}",
    )
    low, high = -(1 << (linear.bits - 1)), (1 << (linear.bits - 1)) - 1 if linear.bits <= 8 else DIGITS_TOP
    require(
        within(linear.weight, low, high),
        "weight",
        f"int{linear.bits}",
        int(linear.weight.flat[np.argmax(np.abs(linear.weight.astype(np.int64)))]),
    )
    require(within(linear.bias, -(2**31), 2**31 - 1), "bias", "int32", int(np.abs(linear.bias.astype(np.int64)).max()))
    require(within(linear.mult, 0, 65535), "mult", "uint16", int(linear.mult.max()))
    largest = int(np.abs(linear.weight.astype(np.int64)).sum(axis=1).max()) * READS[linear.reads]
    require(
        largest < 1 << (config.acc_bits - 1),
        "accumulator",
        f"below 2**{config.acc_bits - 1} (acc_bits {config.acc_bits})",
        largest,
    )


def _check_place(linear: QuantLinear, stored: dict[str, QuantLinear]) -> None:
    """A matrix that an earlier layer has put into the weight stream is that one; others are added to `stored`."""
    if linear.owner is None:
        stored[linear.name] = linear
    elif linear.owner not in stored or not linear.same_place(stored[linear.owner]):
        raise CompileError(f"layer '{linear.name}': weights must be those of '{linear.owner}' before it, not others")


def check(
    qmodel: QuantModel, config: AcceleratorConfig, *, tasks: Sequence[str], blocks: int, normalise_on_read: bool = True
) -> None:
    """Refuse what the accelerator cannot run.

    Parameters
    ----------
    normalise_on_read : bool
        As in :class:`CompileOptions`: without it, what follows a LayerNorm must read int8
        (`QuantModel.reading_stored`).

    Raises
    ------
    CompileError
        If a task or number of blocks does not exist, or tokens, channels, experts, top-k or accumulators exceed the
        configuration.
    """
    model = qmodel.network
    known = model.tasks
    wide = qmodel.wide or any(layer.wide for layer in qmodel.layers())
    if wide and not normalise_on_read:
        what = "w16a16" if qmodel.wide else "16 for some layers"
        raise CompileError(f"widths must be of 8 bits where LayerNorm has a pass of its own, not {what!r}")
    if not tasks:
        raise CompileError("tasks must be at least one of " + ", ".join(known))
    for task in tasks:
        if task not in known:
            raise CompileError(f"task must be one of {', '.join(known)}, not {task!r}")
    if not 1 <= blocks <= len(qmodel.blocks):
        raise CompileError(f"blocks must be between 1 and {len(qmodel.blocks)}, not {blocks!r}")
    where = f"on configuration '{config.name}'"
    for what, value, limit, name in (
        ("tokens", model.tokens, config.max_tokens, "max_tokens"),
        ("dim", model.dim, config.max_dim, "max_dim"),
    ):
        if value > limit:
            raise CompileError(f"model '{model.name}': {what} must be at most {limit} ({name}) {where}, not {value!r}")
    port_bytes = config.port_bits // 8
    if 2 * config.lanes % port_bytes:
        raise CompileError(
            f"a residual word must be whole beats of {port_bytes} bytes {where}, not {2 * config.lanes!r} bytes"
        )
    if qmodel.position.shape != (model.tokens, model.dim):
        raise CompileError(f"position must be of shape {(model.tokens, model.dim)}, not {qmodel.position.shape!r}")
    limit = 1 << (config.acc_bits - 1)
    peak = READS["int16" if wide else "int8"]
    context = 256 * peak * model.tokens  # probabilities are 256 at most, in the mean
    if context >= limit:
        raise CompileError(
            f"model '{model.name}': context accumulator must be below 2**{config.acc_bits - 1} "
            f"(acc_bits {config.acc_bits}) {where}, not {context!r}"
        )
    narrow = _NARROW if normalise_on_read else _NARROW | {Source.NORMALISED: ("int8",)}
    _check_linear(qmodel.embed, config, (model.dim, model.image.patch_values), ("int8",))
    if qmodel.embed_norm is not None:
        for matrix in qmodel.embed_norm.matrices():
            reads = _WIDE if qmodel.embed_norm.wide else narrow
            _check_linear(matrix.linear, config, matrix.shape, reads[matrix.source])
    stored: dict[str, QuantLinear] = {}
    for block in qmodel.blocks[:blocks]:
        for layer in block.layers:
            room(layer).check(layer, config, tasks)
            reads = _WIDE if layer.wide else narrow
            for matrix in layer.matrices(tasks):
                _check_linear(matrix.linear, config, matrix.shape, reads[matrix.source])
                _check_place(matrix.linear, stored)
