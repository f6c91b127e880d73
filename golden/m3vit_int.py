"""The integer model: the same structure and names as `m3vit`, in exactly the integers the accelerator computes."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from moesaic.golden import numerics, ops_int
from moesaic.golden.numerics import Array
from moesaic.golden.qmodel import (
    IntArray,
    QuantAttention,
    QuantLinear,
    QuantMLP,
    QuantModel,
    QuantMoE,
)
from moesaic.golden.trace import SILENT, Trace

__all__ = ["IntM3ViT", "force_experts"]


class IntM3ViT:
    """Runs a quantised network; every result equals the hardware's, bit for bit.

    Parameters
    ----------
    qmodel : QuantModel
    key_block : int
        Keys in one block of the softmax: the accelerator's `rows`.

    Raises
    ------
    ValueError
        If `key_block` is not positive.
    """

    def __init__(self, qmodel: QuantModel, key_block: int) -> None:
        if key_block < 1:
            raise ValueError(f"key_block must be positive, not {key_block!r}")
        self.qmodel, self.key_block, self.wide = qmodel, key_block, qmodel.wide
        self.kept = np.int16 if self.wide else np.int8  # of a stored tensor

    def run(
        self,
        image: np.ndarray[Any, Any],
        task: str | int,
        *,
        blocks: int | None = None,
        order: Mapping[str, Sequence[int]] | None = None,
        forced_experts: Collection[int] | None = None,
        trace: Trace | None = None,
    ) -> list[IntArray]:
        """Residual after every block.

        Parameters
        ----------
        image : [3, H, W] uint8
        task : str or int
            Name or number.
        blocks : int, optional
            Stop after that many.
        order : mapping of task to experts, optional
            Order in which experts add to the residual, in every mixture; the model's own if left out.
        forced_experts : collection of int, optional
            The only experts that the routers may choose (`force_experts`).
        trace : Trace, optional
            Receives the integers of every tensor under the float model's name: `attn.scores` with 8 fraction bits in
            log2 units, `attn.probs` 0..255, `hidden_pre` with 10 fraction bits, `gate.logits` with 10 in log2 units,
            `gate.scores` with 16.

        Returns
        -------
        list of [tokens, dim] int16
            In units of the block's `residual_step`.
        """
        qmodel = self.qmodel if forced_experts is None else force_experts(self.qmodel, forced_experts)
        config, trace = qmodel.config, trace if trace is not None else SILENT
        name = config.tasks[config.task_index(task)]
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.shape != (3, *config.image_size):
            raise ValueError(
                f"image must be uint8 {[3, *config.image_size]}, not {image.dtype.name} {list(image.shape)!r}"
            )
        x = ops_int.add(
            qmodel.position.astype(np.int64), ops_int.linear_int16(qmodel.embed, ops_int.patch_vectors(image, config))
        )
        trace.record("embed", x.astype(np.int16))
        outputs: list[IntArray] = []
        for block in qmodel.blocks[:blocks]:
            x = self._attention(block.attention, x, block.name, trace)
            trace.record(f"{block.name}.mid", x.astype(np.int16))
            if isinstance(block.mlp, QuantMoE):
                chosen = order[name] if order is not None else block.mlp.order[name]
                x = self._mixture(block.mlp, x, name, chosen, block.name, trace)
            else:
                x = self._dense(block.mlp, x, block.name, trace)
            outputs.append(x.astype(np.int16))
            trace.record(block.name, outputs[-1])
        return outputs

    def _attention(self, attention: QuantAttention, x: Array, name: str, trace: Trace) -> Array:
        heads = self.qmodel.config.heads
        normed = ops_int.norm(attention.norm, x)
        trace.record(f"{name}.norm1", normed.astype(np.int16))
        parts = []
        for part, linear in (("q", attention.q), ("k", attention.k), ("v", attention.v)):
            tensor = ops_int.stored(
                ops_int.linear_int16(linear, ops_int.read_normalised(linear, normed)), wide=self.wide
            )
            trace.record(f"{name}.attn.{part}", tensor.astype(self.kept))
            parts.append(np.split(tensor, heads, axis=1))
        done = [
            ops_int.attend(attention, q, k, v, self.key_block, wide=self.wide) for q, k, v in zip(*parts, strict=True)
        ]
        if trace.wants(f"{name}.attn.scores"):
            trace.record(f"{name}.attn.scores", np.stack([scores for scores, _, _ in done]).astype(np.int16))
        if trace.wants(f"{name}.attn.probs"):
            trace.record(f"{name}.attn.probs", np.stack([p for _, p, _ in done]).astype(np.uint8))
        context = np.concatenate([c for _, _, c in done], axis=1)
        trace.record(f"{name}.attn.context", context.astype(self.kept))
        out = ops_int.linear_int16(attention.proj, context)
        trace.record(f"{name}.attn.proj", out.astype(np.int16))
        return ops_int.add(x, out, attention.residual_shift)

    def _dense(self, mlp: QuantMLP, x: Array, name: str, trace: Trace) -> Array:
        normed = ops_int.norm(mlp.norm, x)
        trace.record(f"{name}.norm2", normed.astype(np.int16))
        pre = ops_int.linear_int16(mlp.fc1, ops_int.read_normalised(mlp.fc1, normed))
        trace.record(f"{name}.mlp.hidden_pre", pre.astype(np.int16))
        hidden = ops_int.hidden(pre, mlp.hidden_mult, mlp.hidden_shift, wide=self.wide)
        trace.record(f"{name}.mlp.hidden", hidden.astype(self.kept))
        out = ops_int.linear_int16(mlp.fc2, hidden)
        trace.record(f"{name}.mlp.out", out.astype(np.int16))
        return ops_int.add(x, out)

    def _mixture(self, moe: QuantMoE, x: Array, task: str, order: Sequence[int], name: str, trace: Trace) -> Array:
        if sorted(order) != list(range(len(moe.experts))):
            raise ValueError(
                f"{name}: order must name each of the {len(moe.experts)} experts once, not {list(order)!r}"
            )
        before = x
        normed = ops_int.norm(moe.norm, x)
        trace.record(f"{name}.norm2", normed.astype(np.int16))
        logits = ops_int.linear_int16(moe.gates[task], ops_int.read_normalised(moe.gates[task], normed))
        index, score = numerics.route(logits, moe.top_k, renormalise=moe.renormalise)
        trace.record(f"{name}.mlp.gate.logits", logits.astype(np.int16))
        trace.record(f"{name}.mlp.gate.scores", score.astype(np.uint16))
        trace.record(f"{name}.mlp.gate.index", index)
        x = x.copy()
        done: dict[int, dict[str, Array]] = {}
        for e in order:
            token, choice = np.nonzero(index == e)
            if not len(token):
                continue
            expert = moe.experts[e]
            pre = ops_int.linear_int16(expert.fc1, ops_int.read_normalised(expert.fc1, normed[token]))
            hidden = ops_int.hidden(pre, moe.hidden_mult, moe.hidden_shift, wide=self.wide)
            out = ops_int.linear_int16(expert.fc2, hidden)
            # A token is in one expert's queue at most once, so that rows of one expert never collide.
            x[token] = ops_int.add(x[token], numerics.round_shift(out * score[token, choice, None], moe.score_shift))
            done[e] = {
                "index": np.full_like(token, e),
                "token": token,
                "hidden_pre": pre.astype(np.int16),
                "hidden": hidden.astype(self.kept),
                "out": out.astype(np.int16),
            }
        for part in ("index", "token", "hidden_pre", "hidden", "out"):
            trace.record(f"{name}.mlp.expert_{part}", np.concatenate([done[e][part] for e in sorted(done)]))
        trace.record(f"{name}.mlp.out", x - before)
        return x


def force_experts(qmodel: QuantModel, experts: Collection[int]) -> QuantModel:
    """A network whose routers can only choose from `experts`: the gates of all others are constants below any logit.

    Plain data, so that hardware does the same: rows of zeros, and a bias that saturates the logit at -32768.

    Raises
    ------
    ValueError
        If `experts` has numbers that are no expert's, or fewer than `top_k`.
    """
    allowed, config = set(experts), qmodel.config
    if len(allowed) < config.top_k or not allowed <= set(range(config.experts)):
        raise ValueError(f"experts must be {config.top_k} or more of 0..{config.experts - 1}, not {sorted(allowed)!r}")
    barred = np.array([e for e in range(config.experts) if e not in allowed], np.int64)

    def shut(gate: QuantLinear) -> QuantLinear:
        weight, bias, mult = gate.weight.copy(), gate.bias.copy(), gate.mult.copy()
        weight[barred], mult[barred], bias[barred] = 0, 65535, -(1 << 25)
        if -(1 << 25 + gate.bias_shift) * 65535 >> gate.shift > -(1 << 15):
            raise ValueError(
                f"{gate.name}: shift must be at most {25 + gate.bias_shift} to bar an expert, not {gate.shift!r}"
            )
        return dataclasses.replace(gate, weight=weight, bias=bias, mult=mult)

    blocks = []
    for block in qmodel.blocks:
        mlp = block.mlp
        if isinstance(mlp, QuantMoE):
            mlp = dataclasses.replace(mlp, gates={task: shut(gate) for task, gate in mlp.gates.items()})
        blocks.append(dataclasses.replace(block, mlp=mlp))
    return dataclasses.replace(qmodel, blocks=tuple(blocks))
