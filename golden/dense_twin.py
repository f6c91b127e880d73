"""The dense network with as many parameters as a mixture of experts: every token meets every expert."""

from dataclasses import replace

import numpy as np

from moesaic.golden.qmodel import QuantLinear, QuantMLP, QuantModel, QuantMoE

__all__ = ["dense_twin"]


def _dense(moe: QuantMoE, name: str) -> QuantMLP:
    first, second = [e.fc1 for e in moe.experts], [e.fc2 for e in moe.experts]
    count = len(moe.experts)
    finer = int(first[0].reads == "int8")  # read as they are streamed, units are half as large
    fc1 = QuantLinear(
        name=f"{name}.mlp.fc1",
        weight=np.concatenate([linear.weight for linear in first]),
        bias=np.concatenate([linear.bias for linear in first]) << finer,
        mult=np.concatenate([linear.mult for linear in first]),
        shift=first[0].shift + finer,
        in_step=first[0].in_step / (1 << finer),
        out_step=first[0].out_step,
        bits=max(linear.bits for linear in first),
        reads="streamed" if finer else first[0].reads,
    )
    # The mean of the experts: one multiplier for all of them, in place of a score for each.
    mult = np.mean([linear.mult for linear in second], axis=0) / count
    fc2 = QuantLinear(
        name=f"{name}.mlp.fc2",
        weight=np.concatenate([linear.weight for linear in second], axis=1),
        bias=np.stack([linear.bias for linear in second]).sum(axis=0, dtype=np.int64).astype(np.int32),
        mult=np.maximum(1, np.rint(mult)).astype(np.uint16),
        shift=second[0].shift,
        in_step=second[0].in_step,
        out_step=second[0].out_step,
        bits=max(linear.bits for linear in second),
    )
    return QuantMLP(
        norm=moe.norm,
        fc1=fc1,
        hidden_mult=moe.hidden_mult,
        hidden_shift=moe.hidden_shift,
        hidden_step=moe.hidden_step,
        fc2=fc2,
    )


def dense_twin(qmodel: QuantModel) -> QuantModel:
    """`qmodel` with each mixture replaced by one MLP of all its experts' hidden units, and no router.

    It is for measuring cycles and bytes of a dense network of equal size: what it computes is exact, and of no use.
    """
    blocks = tuple(
        replace(block, mlp=_dense(block.mlp, block.name)) if isinstance(block.mlp, QuantMoE) else block
        for block in qmodel.blocks
    )
    return replace(qmodel, blocks=blocks)
