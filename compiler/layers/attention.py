"""Attention: keys and values stay on chip for all tokens, queries come in chunks, heads one after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from moesaic.compiler.builder import RESIDUAL, Builder
from moesaic.compiler.ir import CompileError, Op, Ref, Space
from moesaic.compiler.layers.room import Room, chunk_sizes, pipelined
from moesaic.compiler.layout import HeadLayout, words_for
from moesaic.compiler.pack import pack_matrix
from moesaic.golden.layers.attention import QuantAttention
from moesaic.golden.layers.layer import Matrix
from moesaic.golden.layers.linear import READS
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory, Opcode, Stationary, Stream

__all__ = ["AttentionRoom"]

_STORED = {"q": Memory.ACTIVATION, "k": Memory.KV, "v": Memory.KV}


def _heads(layer: QuantAttention, config: AcceleratorConfig) -> HeadLayout:
    return HeadLayout(heads=layer.heads, head_dim=layer.head_dim, lanes=config.lanes)


def _extra_keys(build: Builder, layer: QuantAttention) -> int:
    """Keys that need no pass of their own: the last one, where it would be alone in its block."""
    config = build.config
    alone = build.item_tokens % config.lanes == 1 and build.item_tokens > 1
    return int(config.extra_key and alone and not layer.wide)


class AttentionRoom(Room[QuantAttention]):
    """Scores against stationary keys, context against stationary values, head by head."""

    def lower(self, build: Builder, layer: QuantAttention, block: int) -> Iterator[Op]:
        heads, stage, name = _heads(layer, build.config), layer.kind, layer.name
        yield build.norm(layer.norm, block, stage, layer.norm.name, group="qkv")
        context = build.tensor(f"{name}.context", Space.ACTIVATION, heads.words)
        stored = {
            "k": build.tensor(f"{name}.k", Space.KV, heads.words),
            "q": build.tensor(f"{name}.q", Space.ACTIVATION, heads.words),
            "v": build.tensor(f"{name}.v", Space.KV, heads.words),
        }
        source, stream = Ref(RESIDUAL), Stream.NORMALISED
        if layer.gain is not None:
            words = words_for(layer.norm.dim, build.config.lanes)
            source, stream = build.tensor(f"{name}.normalised", Space.ACTIVATION, words), Stream.ACTIVATION
            yield build.gain(layer.gain, block, stage, group="qkv", whole=True, target=source)
        for matrix in ("k", "q", "v"):
            yield build.linear(
                getattr(layer, matrix),
                block,
                stage,
                matrix,
                group="qkv",
                whole=matrix != "q",
                source=source,
                target=stored[matrix],
                inputs=layer.norm.dim,
                out_count=heads.channels,
                stream=stream,
                function=Function.INT8,
                dst_memory=_STORED[matrix],
                wide_result=int(layer.wide),
            )
        words = words_for(build.item_tokens - _extra_keys(build, layer), build.config.lanes)
        for part, head in product(range(build.parts), range(layer.heads)):
            number = f"{head}{build.number(part)}"
            probabilities = build.tensor(f"{name}.p.{number}", Space.ACTIVATION, words, part=part)
            state = build.tensor(f"{name}.state.{number}", Space.STATE, 1, part=part).tensor
            yield self._scores(build, layer, block, (part, head), stored, probabilities, state)
            yield self._attend(build, layer, block, (part, head), stored["v"], probabilities, context, state)
        yield build.linear(
            layer.proj,
            block,
            stage,
            "proj",
            group="proj",
            source=context,
            target=Ref(RESIDUAL),
            inputs=heads.channels,
            stream=Stream.ACTIVATION,
            function=Function.ADD,
            residual_shift=layer.residual_shift,
        )

    @staticmethod
    def _span(heads: HeadLayout, head: int) -> dict[str, int]:
        return {"lane_low": heads.lane(head), "lane_count": heads.lane_count, "kv_stride": heads.words}

    def _scores(
        self,
        build: Builder,
        layer: QuantAttention,
        block: int,
        where: tuple[int, int],
        stored: dict[str, Ref],
        probabilities: Ref,
        state: str,
    ) -> Op:
        heads, (part, head), tokens = _heads(layer, build.config), where, build.item_tokens
        extra = _extra_keys(build, layer)
        word = heads.word(head)
        return Op(
            name=f"{layer.name}.scores.{head}{build.number(part)}",
            opcode=Opcode.MATMUL,
            block=block,
            stage=layer.kind,
            role="scores",
            group="attention",
            token=part * tokens,
            tokens=tokens,
            source=Ref(stored["q"].tensor, word),
            target=probabilities,
            kv=Ref(stored["k"].tensor, word, part * tokens),
            state=state,
            head=head,
            macs=tokens * tokens * layer.head_dim,
            fields={
                "stationary": Stationary.KEYS,
                "stream": Stream.ACTIVATION,
                "function": Function.SOFTMAX,
                "out_count": tokens - extra,
                "extra": extra,
                **build.planes(heads.words_per_head, wide=layer.wide, stream=True),
                "scalar": layer.score_mult,
                "shift": layer.score_shift,
                **self._span(heads, head),
            },
        )

    def _attend(
        self,
        build: Builder,
        layer: QuantAttention,
        block: int,
        where: tuple[int, int],
        values: Ref,
        probabilities: Ref,
        context: Ref,
        state: str,
    ) -> Op:
        heads, rows, lanes = _heads(layer, build.config), build.config.rows, build.config.lanes
        (part, head), tokens, extra = where, build.item_tokens, _extra_keys(build, layer)
        word, lane = heads.word(head), heads.lane(head)
        group = lane // rows
        outputs = lane + heads.lane_count - group * rows if heads.pitch < lanes else heads.pitch
        return Op(
            name=f"{layer.name}.attend.{head}{build.number(part)}",
            opcode=Opcode.MATMUL,
            block=block,
            stage=layer.kind,
            role="attend",
            group="attention",
            token=part * tokens,
            tokens=tokens,
            source=probabilities,
            target=Ref(context.tensor, word),
            kv=Ref(values.tensor, word, part * tokens),
            state=state,
            head=head,
            macs=tokens * tokens * layer.head_dim,
            fields={
                "stationary": Stationary.VALUES,
                "stream": Stream.PROBABILITY,
                "function": Function.ATTEND,
                "out_count": outputs,
                **build.planes(words_for(tokens - extra, lanes), wide=layer.wide, stream=False),
                "wide_result": int(layer.wide),
                "key_count": tokens - extra,
                "extra": extra,
                "group": group,
                "scalar": layer.context_mult,
                "shift": layer.context_shift,
                "dst_memory": Memory.ACTIVATION,
                **self._span(heads, head),
            },
        )

    def order(self, whole: list[Op], chunks: list[list[Op]]) -> list[Op]:
        """K, Q, V, then heads: V hides the wait for Q, and so does the projection of one chunk for Q of the next.

        The scores of head h + 1 come before the context of head h. Q and projection of all tokens are first and last.
        """

        def one(ops: list[Op], role: str) -> Op:
            return next(op for op in ops if op.role == role)

        keys, values = one(whole, "k"), one(whole, "v")
        first = {op.role: op for op in [*whole, *chunks[0]]}["q"]
        last = [op for op in whole if op.role == "proj"]
        result = [*(op for op in whole if op not in (keys, values, first, *last)), keys, first, values]
        for number, ops in enumerate(chunks):
            scores, context = ([op for op in ops if op.role == role] for role in ("scores", "attend"))
            pairs = list(zip(scores, context, strict=True))
            result += pipelined(pairs) if ops[0].overlap else [op for pair in pairs for op in pair]
            if number + 1 < len(chunks):
                result += [op for op in chunks[number + 1] if op.role == "q"]
            result += [op for op in ops if op.role == "proj"]
        return result + last

    def once(self, ops: list[Op]) -> list[Op]:
        """Queries of all tokens; a head's context takes the place of its queries, which nobody needs any more."""
        queries = next(op.target for op in ops if op.role == "q")
        assert queries is not None
        result = []
        for op in ops:
            if op.role == "attend" and op.target is not None:
                op = replace(op, target=Ref(queries.tensor, op.target.word))
            elif op.role == "proj":
                op = replace(op, source=queries, whole=True)
            result.append(replace(op, whole=True) if op.role == "q" else op)
        return result

    def chunks(self, tokens: int, config: AcceleratorConfig) -> Iterator[tuple[int, bool]]:
        """Overlap first: without it, attention waits twice for each head, and that is taken only if chunks would get
        shorter than a stationary block takes to load.
        """
        sizes = list(chunk_sizes(tokens, config))
        yield from ((size, True) for n, size in enumerate(sizes) if n == 0 or size >= config.rows)
        yield from ((size, False) for size in sizes)

    def check(self, layer: QuantAttention, config: AcceleratorConfig, tasks: Sequence[str]) -> None:
        if layer.inner % layer.heads:
            raise CompileError(
                f"layer '{layer.name}': channels of q must be a multiple of the {layer.heads} heads, "
                f"not {layer.inner!r}"
            )
        peak = READS["int16" if layer.wide else "int8"]
        if peak * peak * layer.head_dim >= 1 << (config.acc_bits - 1):
            raise CompileError(
                f"layer '{layer.name}': score accumulator must be below 2**{config.acc_bits - 1} (acc_bits "
                f"{config.acc_bits}) on configuration '{config.name}', not {peak * peak * layer.head_dim!r}"
            )

    def pack(self, layer: QuantAttention, matrix: Matrix, config: AcceleratorConfig) -> bytes:
        heads = _heads(layer, config)
        if matrix.linear is layer.gain:
            return pack_matrix(matrix.linear, config)
        if matrix.linear is layer.proj:
            return pack_matrix(matrix.linear, config, heads_in=heads)
        return pack_matrix(matrix.linear, config, heads_out=heads)
