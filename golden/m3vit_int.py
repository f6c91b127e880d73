"""The integer model: the same structure and names as `m3vit`, in exactly the integers the accelerator computes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import numpy as np

from moesaic.golden import ops_int
from moesaic.golden.layers.layer import Inference
from moesaic.golden.numerics import Array, IntArray
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.saturation import Saturation
from moesaic.golden.trace import SILENT, Trace
from moesaic.hw.spec.chains import most_probability_bits
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.packing import key_block as key_block_of

__all__ = ["IntM3ViT", "embedded", "force_experts"]


def embedded(qmodel: QuantModel, image: np.ndarray[Any, Any], saturation: Saturation) -> Array:
    """The residual [tokens, dim] before the first layer, of a uint8 image [channels, H, W]."""
    vectors, position = ops_int.patch_vectors(image, qmodel.network), qmodel.position.astype(np.int64)
    patches = ops_int.linear_int16(qmodel.embed, vectors, saturation)
    if qmodel.embed_norm is not None:
        before = qmodel.embed_norm.before.astype(np.int64)
        patches = qmodel.embed_norm.run(ops_int.add("embed.patches", before, patches, saturation), saturation)
    return ops_int.add("embed.residual", position, patches, saturation)


class IntM3ViT:
    """Runs a quantised network; every result equals the hardware's, bit for bit.

    Parameters
    ----------
    qmodel : QuantModel
    key_block : int
        Keys in one block of the softmax, the same for all heads: the `rows` of an accelerator that packs no keys.
    probability_bits : int, optional
        Of a probability where it meets the values: the accelerator's `probability_width`. Left out: as many as an
        accelerator of as many lanes as rows takes.

    Raises
    ------
    ValueError
        If `key_block` is not positive.
    """

    def __init__(self, qmodel: QuantModel, key_block: int, probability_bits: int | None = None) -> None:
        if key_block < 1:
            raise ValueError(f"key_block must be positive, not {key_block!r}")
        self.qmodel, self.key_block = qmodel, key_block
        self.accelerator: AcceleratorConfig | None = None
        self.probability_bits = probability_bits or most_probability_bits(key_block, key_block)

    @classmethod
    def of(cls, qmodel: QuantModel, config: AcceleratorConfig) -> Self:
        """With the integer arithmetic of an accelerator."""
        model = cls(qmodel, config.rows, config.probability_width)
        model.accelerator = config
        return model

    def keys(self, head_dim: int) -> int:
        """Keys in one block of the softmax of a head of so many channels."""
        return self.key_block if self.accelerator is None else key_block_of(self.accelerator, head_dim)

    def run(
        self,
        image: np.ndarray[Any, Any],
        task: str | int,
        *,
        blocks: int | None = None,
        order: Mapping[str, Sequence[int]] | None = None,
        forced_experts: Collection[int] | None = None,
        trace: Trace | None = None,
        saturation: Saturation | None = None,
        unbounded: bool = False,
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
            log2 units, `attn.probs` as they meet the values, `hidden_pre` with 10 fraction bits, `gate.logits` with 10
            in log2 units (less the gate's shift), `gate.scores` with 16.
        saturation : Saturation, optional
            Counts what does not fit, by tensor.
        unbounded : bool
            As in `Inference`.

        Returns
        -------
        list of [tokens, dim] int16
            In units of the block's `residual_step`.
        """
        qmodel = self.qmodel if forced_experts is None else force_experts(self.qmodel, forced_experts)
        network, trace = qmodel.network, trace if trace is not None else SILENT
        name = network.tasks[network.task_index(task)]
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.shape != network.image.shape:
            raise ValueError(
                f"image must be uint8 {list(network.image.shape)}, not {image.dtype.name} {list(image.shape)!r}"
            )
        saturation = Saturation() if saturation is None else saturation
        x = embedded(qmodel, image, saturation)
        trace.record("embed", x.astype(np.int16))
        inference = Inference(
            task=name,
            key_block=self.keys,
            probability_bits=self.probability_bits,
            trace=trace,
            order=order,
            saturation=saturation,
            unbounded=unbounded,
        )
        outputs: list[IntArray] = []
        for block in qmodel.blocks[:blocks]:
            for layer, edge in block.edges():
                x = layer.run(x, inference)
                trace.record(edge, x.astype(np.int16))
            outputs.append(x.astype(np.int16))
        return outputs


def force_experts(qmodel: QuantModel, experts: Collection[int]) -> QuantModel:
    """A network whose routers can only choose from `experts`: the gates of all others are constants below any logit.

    Raises
    ------
    ValueError
        If `experts` has numbers that are no expert's, or fewer than `top_k`.
    """
    return qmodel.with_layers(lambda layer: layer.only_experts(experts))
