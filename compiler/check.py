"""What can be known to be wrong before anything is compiled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moesaic.compiler.ir import CompileError
from moesaic.golden.qmodel import READS, IntArray, QuantLinear, QuantMLP, QuantModel, QuantMoE
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.tables import DIGITS_TOP

__all__ = ["check"]


@dataclass(frozen=True)
class _Reads:
    """What matrices may read: behind a LayerNorm, of its values in the activation memory, and of other layers' results
    there.
    """

    normalised: tuple[str, ...] = ("streamed", "planes")
    tapped: tuple[str, ...] = ("int8",)
    stored: tuple[str, ...] = ("int8",)


_WIDE = _Reads(normalised=("planes",), tapped=("planes",), stored=("int16",))


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


def _check_block_weights(
    qmodel: QuantModel, config: AcceleratorConfig, tasks: Sequence[str], blocks: int, reads: _Reads
) -> None:
    model = qmodel.config
    for block in qmodel.blocks[:blocks]:
        attention, mlp = block.attention, block.mlp
        for linear in (attention.q, attention.k, attention.v):
            _check_linear(linear, config, (model.dim, model.dim), reads.normalised)
        _check_linear(attention.proj, config, (model.dim, model.dim), reads.stored)
        if isinstance(mlp, QuantMLP):
            hidden = mlp.fc1.weight.shape[0]
            _check_linear(mlp.fc1, config, (hidden, model.dim), reads.normalised)
            _check_linear(mlp.fc2, config, (model.dim, hidden), reads.stored)
        elif isinstance(mlp, QuantMoE):
            _check_mixture(mlp, config, tasks, model.dim, block.name, reads)
        else:
            raise CompileError(f"layer '{block.name}.mlp': the compiler has no {type(mlp).__name__}")


def _check_mixture(
    moe: QuantMoE, config: AcceleratorConfig, tasks: Sequence[str], dim: int, name: str, reads: _Reads
) -> None:
    count = len(moe.experts)
    if count > config.experts:
        raise CompileError(
            f"layer '{name}.mlp': experts must be at most {config.experts} on configuration '{config.name}', "
            f"not {count!r}"
        )
    if not 1 <= moe.top_k <= min(config.max_top_k, count):
        raise CompileError(
            f"layer '{name}.mlp': top_k must be from 1 to {min(config.max_top_k, count)} "
            f"on configuration '{config.name}', "
            f"not {moe.top_k!r}"
        )
    for task in tasks:
        if task not in moe.gates:
            raise CompileError(f"layer '{name}.mlp': task must be one of {', '.join(moe.gates)}, not {task!r}")
        if sorted(moe.order[task]) != list(range(count)):
            raise CompileError(
                f"layer '{name}.mlp': order of task '{task}' must name each of {count} experts once, "
                f"not {moe.order[task]!r}"
            )
        _check_linear(moe.gates[task], config, (count, dim), reads.normalised)
    for expert in moe.experts:
        hidden = expert.fc1.weight.shape[0]
        _check_linear(expert.fc1, config, (hidden, dim), reads.tapped)
        _check_linear(expert.fc2, config, (dim, hidden), reads.stored)


def check(
    qmodel: QuantModel, config: AcceleratorConfig, *, tasks: Sequence[str], blocks: int, normalise_on_read: bool = True
) -> None:
    """Refuse what the accelerator cannot run.

    Parameters
    ----------
    normalise_on_read : bool
        As in :class:`CompileOptions`: without it, what follows a LayerNorm must read int8 (`golden.stored_norm`).

    Raises
    ------
    CompileError
        If a task or number of blocks does not exist, or tokens, channels, experts, top-k or accumulators exceed the
        configuration.
    """
    model = qmodel.config
    known = model.tasks
    if qmodel.wide and not normalise_on_read:
        raise CompileError("widths must be of 8 bits where LayerNorm has a pass of its own, not 'w16a16'")
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
    peak = READS["int16" if qmodel.wide else "int8"]
    context, scores = 255 * peak * model.tokens, peak * peak * model.head_dim
    for what, value in (("context", context), ("score", scores)):
        if value >= limit:
            raise CompileError(
                f"model '{model.name}': {what} accumulator must be below 2**{config.acc_bits - 1} "
                f"(acc_bits {config.acc_bits}) "
                f"{where}, not {value!r}"
            )
    reads = _WIDE if qmodel.wide else _Reads() if normalise_on_read else _Reads(normalised=("int8",))
    _check_linear(qmodel.embed, config, (model.dim, model.patch_values), ("int8",))
    _check_block_weights(qmodel, config, tasks, blocks, reads)
