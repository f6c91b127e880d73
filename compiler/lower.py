"""Quantised model and task to a graph of operations on whole token sequences."""

from collections.abc import Iterator

from moesaic.compiler.builder import Builder
from moesaic.compiler.ir import CompileError, Graph, Op, Ref, Space
from moesaic.compiler.layout import words_for
from moesaic.compiler.speculate import default_speculation
from moesaic.compiler.verify import verify
from moesaic.golden.qmodel import QuantAttention, QuantBlock, QuantMLP, QuantModel, QuantMoE
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, GateKind, Memory, Opcode, Stationary, Stream

__all__ = ["RESIDUAL", "lower"]

RESIDUAL = "residual"  # the one buffer that lives as long as the program


class _Lowering(Builder):
    """The layers of the network."""

    def embedding(self) -> Iterator[Op]:
        model, load_rows = self.qmodel.config, self.config.load_rows
        residual = self.tensor(RESIDUAL, Space.RESIDUAL, self.dim_words, multiple=load_rows // 2)
        image = self.tensor("image", Space.ACTIVATION, words_for(model.patch_values, self.lanes), multiple=load_rows)
        yield Op(
            name="position",
            opcode=Opcode.COPY,
            block=-1,
            stage="embed",
            role="position",
            tokens=self.tokens,
            target=residual,
            weights="position",
            fields={"memory": Memory.RESIDUAL},
        )
        yield Op(
            name="image",
            opcode=Opcode.COPY,
            block=-1,
            stage="embed",
            role="image",
            tokens=self.tokens,
            target=image,
            weights="image",
            fields={"memory": Memory.ACTIVATION},
        )
        yield self.linear(
            self.qmodel.embed,
            -1,
            "embed",
            "embed",
            source=image,
            target=residual,
            piece="embed",
            inputs=model.patch_values,
            stream=Stream.ACTIVATION,
            function=Function.ADD,
            fresh=1,
        )

    def attention(self, attention: QuantAttention, block: int, name: str) -> Iterator[Op]:
        model, heads, residual = self.qmodel.config, self.heads, Ref(RESIDUAL)
        key_words = words_for(self.tokens, self.lanes)
        yield self.norm(attention.norm, block, "attention", f"{name}.norm1")
        q = self.tensor(f"{name}.q", Space.ACTIVATION, heads.words)
        context = self.tensor(f"{name}.context", Space.ACTIVATION, heads.words)
        stored = {
            "k": self.tensor(f"{name}.k", Space.KV, heads.words),
            "q": q,
            "v": self.tensor(f"{name}.v", Space.KV, heads.words),
        }
        for part in ("k", "q", "v"):
            yield self.linear(
                getattr(attention, part),
                block,
                "attention",
                part,
                source=residual,
                target=stored[part],
                piece=f"{name}.attn.{part}",
                inputs=model.dim,
                out_count=heads.channels,
                stream=Stream.NORMALISED,
                function=Function.INT8,
                dst_memory=Memory.ACTIVATION if part == "q" else Memory.KV,
                wide_result=self.wide,
            )
        for head in range(model.heads):
            word, lane = heads.word(head), heads.lane(head)
            span = {"lane_low": lane, "lane_count": heads.lane_count, "kv_stride": heads.words}
            probabilities = self.tensor(f"{name}.p.{head}", Space.ACTIVATION, key_words)
            state = self.tensor(f"{name}.state.{head}", Space.STATE, 1).tensor
            yield Op(
                name=f"{name}.attn.scores.{head}",
                opcode=Opcode.MATMUL,
                block=block,
                stage="attention",
                role="scores",
                tokens=self.tokens,
                source=Ref(q.tensor, word),
                target=probabilities,
                kv=Ref(stored["k"].tensor, word),
                state=state,
                head=head,
                macs=self.tokens * self.tokens * model.head_dim,
                fields={
                    "stationary": Stationary.KEYS,
                    "stream": Stream.ACTIVATION,
                    "function": Function.SOFTMAX,
                    "out_count": self.tokens,
                    **self.planes(heads.words_per_head, stream=True),
                    "scalar": attention.score_mult,
                    "shift": attention.score_shift,
                    **span,
                },
            )
            group = lane // self.config.rows
            outputs = lane + heads.lane_count - group * self.config.rows if heads.pitch < self.lanes else heads.pitch
            yield Op(
                name=f"{name}.attn.attend.{head}",
                opcode=Opcode.MATMUL,
                block=block,
                stage="attention",
                role="attend",
                tokens=self.tokens,
                source=probabilities,
                target=Ref(context.tensor, word),
                kv=Ref(stored["v"].tensor, word),
                state=state,
                head=head,
                macs=self.tokens * self.tokens * model.head_dim,
                fields={
                    "stationary": Stationary.VALUES,
                    "stream": Stream.PROBABILITY,
                    "function": Function.ATTEND,
                    "out_count": outputs,
                    **self.planes(key_words, stream=False),
                    "wide_result": self.wide,
                    "key_count": self.tokens,
                    "group": group,
                    "scalar": attention.context_mult,
                    "shift": attention.context_shift,
                    "dst_memory": Memory.ACTIVATION,
                    **span,
                },
            )
        yield self.linear(
            attention.proj,
            block,
            "attention",
            "proj",
            source=context,
            target=residual,
            piece=f"{name}.attn.proj",
            inputs=heads.channels,
            stream=Stream.ACTIVATION,
            function=Function.ADD,
            residual_shift=attention.residual_shift,
        )

    def dense(self, mlp: QuantMLP, block: int, name: str) -> Iterator[Op]:
        model, residual = self.qmodel.config, Ref(RESIDUAL)
        yield self.norm(mlp.norm, block, "mlp", f"{name}.norm2")
        hidden = self.tensor(f"{name}.hidden", Space.ACTIVATION, words_for(mlp.fc1.weight.shape[0], self.lanes))
        yield self.linear(
            mlp.fc1,
            block,
            "mlp",
            "fc1",
            source=residual,
            target=hidden,
            piece=f"{name}.mlp.fc1",
            inputs=model.dim,
            stream=Stream.NORMALISED,
            function=Function.GELU,
            scalar=mlp.hidden_mult,
            post_shift=mlp.hidden_shift,
            wide_result=self.wide,
        )
        yield self.linear(
            mlp.fc2,
            block,
            "mlp",
            "fc2",
            source=hidden,
            target=residual,
            piece=f"{name}.mlp.fc2",
            inputs=mlp.fc2.weight.shape[1],
            stream=Stream.ACTIVATION,
            function=Function.ADD,
        )

    def mixture(self, moe: QuantMoE, block: int, name: str) -> Iterator[Op]:
        model, residual = self.qmodel.config, Ref(RESIDUAL)
        yield self.norm(moe.norm, block, "moe", f"{name}.norm2")
        tokens = self.tensor(f"{name}.normalised", Space.ACTIVATION, self.dim_words, gathered=True)
        yield self.linear(
            moe.gates[self.task],
            block,
            "moe",
            "route",
            source=residual,
            target=None,
            tap=tokens,
            piece=f"{name}.mlp.gate.{self.task}",
            inputs=model.dim,
            stream=Stream.NORMALISED,
            function=Function.ROUTE,
            top_k=moe.top_k,
            gate_kind=GateKind.NOISY if moe.renormalise else GateKind.NOISY_VMOE,
            wide_result=self.wide,
        )
        limit = default_speculation(moe, self.task, self.config) if self.speculate is None else self.speculate
        for position, number in enumerate(moe.order[self.task]):
            expert, path = moe.experts[number], f"{name}.mlp.experts.{number}"
            hidden = self.tensor(
                f"{name}.hidden.{number}",
                Space.ACTIVATION,
                words_for(expert.fc1.weight.shape[0], self.lanes),
                queued=True,
            )
            yield self.linear(
                expert.fc1,
                block,
                "moe",
                "fc1",
                source=tokens,
                target=hidden,
                piece=f"{path}.fc1",
                inputs=model.dim,
                stream=Stream.ACTIVATION,
                function=Function.GELU,
                expert=number,
                speculative=position < limit,
                scalar=moe.hidden_mult,
                post_shift=moe.hidden_shift,
                wide_result=self.wide,
            )
            yield self.linear(
                expert.fc2,
                block,
                "moe",
                "fc2",
                source=hidden,
                target=residual,
                piece=f"{path}.fc2",
                inputs=expert.fc2.weight.shape[1],
                stream=Stream.ACTIVATION,
                function=Function.ADD,
                expert=number,
                speculative=position < limit,
                post_shift=moe.score_shift,
            )

    def block(self, block: QuantBlock, number: int) -> Iterator[Op]:
        yield from self.attention(block.attention, number, block.name)
        if isinstance(block.mlp, QuantMLP):
            yield from self.dense(block.mlp, number, block.name)
        elif isinstance(block.mlp, QuantMoE):
            yield from self.mixture(block.mlp, number, block.name)
        else:
            raise CompileError(f"layer '{block.name}.mlp': the compiler has no {type(block.mlp).__name__}")


def lower(
    qmodel: QuantModel, task: str, config: AcceleratorConfig, *, blocks: int | None = None, speculate: int | None = None
) -> Graph:
    """The operations of `task`, in the order of the model, each over all tokens.

    Parameters
    ----------
    qmodel : QuantModel
    task : str
        One of the model's tasks; it chooses gates and the order of experts.
    config : AcceleratorConfig
    blocks : int or None
        Stop after this many blocks.
    speculate : int or None
        Experts fetched before the router has decided; None: :func:`default_speculation`.
    """
    lowering = _Lowering(qmodel, task, config, speculate)
    ops = list(lowering.embedding())
    for number, block in enumerate(qmodel.blocks[:blocks]):
        ops += lowering.block(block, number)
    last = len(qmodel.blocks[:blocks]) - 1
    ops.append(
        Op(
            name="result",
            opcode=Opcode.STORE,
            block=last,
            stage="result",
            role="store",
            tokens=lowering.tokens,
            source=Ref(RESIDUAL),
        )
    )
    return verify(Graph(task, lowering.tensors, tuple(ops)))
