"""Building blocks of lowering: buffers, matrices and norms."""

from dataclasses import dataclass, field
from typing import Any

from moesaic.compiler.batch import Batch
from moesaic.compiler.ir import Op, Ref, Space, Tensor
from moesaic.compiler.layout import words_for
from moesaic.golden.layers.linear import WIDE_READS, QuantLinear
from moesaic.golden.layers.norm import QuantNorm
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory, Opcode, Stationary, Stream

__all__ = ["RESIDUAL", "Builder"]


RESIDUAL = "residual"  # the one buffer that lives as long as the program


@dataclass
class Builder:
    """Makes the buffers and operations of one batch.

    Parameters
    ----------
    item_tokens : int
        Of one item.
    batch : Batch
    config : AcceleratorConfig
    speculate : int or None
        Experts fetched before the router has decided; None: as each room thinks best.
    tensors : dict of name to Tensor
        Buffers made so far.
    shared : bool
        Tasks have the same tokens still: those of each image stand there once.
    """

    item_tokens: int
    batch: Batch
    config: AcceleratorConfig
    speculate: int | None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    shared: bool = True

    @property
    def parts(self) -> int:
        """Sequences of tokens that do not meet in attention: one for each image, or for each item."""
        return self.batch.images if self.shared else len(self.batch.items)

    @property
    def tokens(self) -> int:
        """Tokens of all parts."""
        return self.parts * self.item_tokens

    def number(self, part: int) -> str:
        """What names a part's operations and buffers beside those of others; nothing if there is one."""
        return f".{part}" if self.parts > 1 else ""

    @staticmethod
    def planes(blocks: int, *, wide: bool, stream: bool) -> dict[str, int]:
        """Fields of a product with keys or values of `blocks` blocks of inputs, which have 16 bits if `wide`; `stream`:
        what is streamed has as many bits as they.
        """
        if not wide:
            return {"in_blocks": blocks}
        return {
            "in_blocks": (4 if stream else 2) * blocks,
            "shift_block": blocks,
            "wide_stationary": 1,
            "wide_stream": int(stream),
        }

    def tensor(self, name: str, space: Space, words: int, *, part: int | None = None, **more: Any) -> Ref:
        """A new buffer for all tokens, or for those of one part; `more` as in :class:`Tensor`."""
        tokens = self.tokens if part is None else self.item_tokens
        first = 0 if part is None else part * self.item_tokens
        self.tensors[name] = Tensor(name=name, space=space, tokens=tokens, first_token=first, words=words, **more)
        return Ref(name)

    def linear(
        self,
        linear: QuantLinear,
        block: int,
        stage: str,
        role: str,
        *,
        group: str = "",
        whole: bool = False,
        source: Ref,
        target: Ref | None,
        inputs: int,
        out_count: int | None = None,
        stream: Stream,
        function: Function,
        expert: int | None = None,
        routed: tuple[int, int] = (1, 1),
        speculative: bool = False,
        tap: Ref | None = None,
        **fields: int,
    ) -> Op:
        """One MATMUL with stationary weights."""
        outputs = linear.weight.shape[0] if out_count is None else out_count
        in_blocks = words_for(inputs, self.config.lanes)
        wide = {"wide_stream": int(linear.reads in WIDE_READS), "wide_stationary": int(linear.bits > 8)}
        planes = {"shift_block": in_blocks, **wide} if linear.passes > 1 else {}
        return Op(
            name=linear.name,
            opcode=Opcode.MATMUL,
            block=block,
            stage=stage,
            role=role,
            group=group,
            whole=whole,
            tokens=self.tokens,
            source=source,
            target=target,
            tap=tap,
            weights=linear.piece,
            expert=expert,
            routed=routed,
            speculative=speculative,
            macs=linear.weight.size * (self.tokens if expert is None else 1),
            fields={
                "stationary": Stationary.WEIGHTS,
                "stream": stream,
                "function": function,
                "out_count": outputs,
                "in_blocks": linear.passes * in_blocks,
                "shift": linear.shift,
                "narrow": int(linear.bits == 4),
                **planes,
                **fields,
            },
        )

    def gain(self, gain: QuantLinear, block: int, stage: str, *, group: str, whole: bool = False, target: Ref) -> Op:
        """Normalised tokens times a norm's gain, with its offset, to the activation memory."""
        return self.linear(
            gain,
            block,
            stage,
            "gain",
            group=group,
            whole=whole,
            source=Ref(RESIDUAL),
            target=target,
            inputs=len(gain.weight),
            stream=Stream.NORMALISED,
            function=Function.INT8,
            dst_memory=Memory.ACTIVATION,
            wide_result=int(gain.bits > 8),
        )

    def norm(self, norm: QuantNorm, block: int, stage: str, name: str, *, group: str) -> Op:
        """The constants of a norm."""
        return Op(
            name=name,
            opcode=Opcode.NORM,
            block=block,
            stage=stage,
            role="norm",
            group=group,
            whole=True,
            fields=norm.fields,
        )
