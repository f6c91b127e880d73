"""Building blocks of lowering: buffers, matrices and norms."""

from dataclasses import dataclass, field

from moesaic.compiler.ir import Op, Ref, Space, Tensor
from moesaic.compiler.layout import HeadLayout, words_for
from moesaic.golden.qmodel import WIDE_READS, QuantLinear, QuantModel, QuantNorm
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Opcode, Stationary, Stream

__all__ = ["Builder"]


@dataclass
class Builder:
    """Makes the buffers and operations of one task.

    Parameters
    ----------
    qmodel : QuantModel
    task : str
    config : AcceleratorConfig
    speculate : int or None
        Experts fetched before the router has decided; None: :func:`default_speculation`.
    tensors : dict of name to Tensor
        Buffers made so far.
    """

    qmodel: QuantModel
    task: str
    config: AcceleratorConfig
    speculate: int | None
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        model = self.qmodel.config
        self.tokens, self.lanes = model.tokens, self.config.lanes
        self.dim_words = words_for(model.dim, self.lanes)
        self.heads = HeadLayout(heads=model.heads, head_dim=model.head_dim, lanes=self.lanes)

        self.wide = int(self.qmodel.wide)  # results have 16 bits

    def planes(self, blocks: int, *, stream: bool) -> dict[str, int]:
        """Fields of a product with keys or values of `blocks` blocks of inputs; `stream`: what is streamed has as many
        bits as they.
        """
        if not self.wide:
            return {"in_blocks": blocks}
        return {
            "in_blocks": (4 if stream else 2) * blocks,
            "shift_block": blocks,
            "wide_stationary": 1,
            "wide_stream": int(stream),
        }

    def tensor(
        self, name: str, space: Space, words: int, *, queued: bool = False, gathered: bool = False, multiple: int = 1
    ) -> Ref:
        """A new buffer for all tokens."""
        self.tensors[name] = Tensor(
            name=name, space=space, tokens=self.tokens, words=words, queued=queued, gathered=gathered, multiple=multiple
        )
        return Ref(name)

    def linear(
        self,
        linear: QuantLinear,
        block: int,
        stage: str,
        role: str,
        *,
        source: Ref,
        target: Ref | None,
        piece: str,
        inputs: int,
        out_count: int | None = None,
        stream: Stream,
        function: Function,
        expert: int | None = None,
        speculative: bool = False,
        tap: Ref | None = None,
        **fields: int,
    ) -> Op:
        """One MATMUL with stationary weights."""
        outputs = linear.weight.shape[0] if out_count is None else out_count
        in_blocks = words_for(inputs, self.lanes)
        wide = {"wide_stream": int(linear.reads in WIDE_READS), "wide_stationary": int(linear.bits > 8)}
        planes = {"shift_block": in_blocks, **wide} if linear.passes > 1 else {}
        return Op(
            name=piece,
            opcode=Opcode.MATMUL,
            block=block,
            stage=stage,
            role=role,
            tokens=self.tokens,
            source=source,
            target=target,
            tap=tap,
            weights=piece,
            expert=expert,
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

    def norm(self, norm: QuantNorm, block: int, stage: str, name: str) -> Op:
        """The constants of a LayerNorm."""
        return Op(
            name=name,
            opcode=Opcode.NORM,
            block=block,
            stage=stage,
            role="norm",
            fields={
                "dim": norm.dim,
                "inv_dim": norm.inv_dim,
                "inv_dim_shift": norm.inv_dim_shift,
                "scale": norm.scale,
                "shift": norm.shift,
                "epsilon": norm.epsilon,
            },
        )
