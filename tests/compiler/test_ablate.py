"""Passes that take an idea away: the same work, in other steps."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from quantmodels import random_qmodel

from moesaic.compiler.ablate import normalise_first, split_queries
from moesaic.compiler.ir import CompileError, Graph
from moesaic.compiler.lower import lower
from moesaic.compiler.tile import tile
from moesaic.golden.config import M3ViTConfig
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Opcode, Stream

MODEL = M3ViTConfig(name="m", image_size=(16, 16), patch_size=8, dim=32, heads=2, depth=2, experts=4, expert_hidden=16)
CONFIG = AcceleratorConfig(name="c", rows=8, lanes=16, ports=2, port_bits=64, max_tokens=64, max_dim=128)
GRAPH = lower(random_qmodel(MODEL, 0).reading_stored(), "depth", CONFIG)


def macs(graph: Graph) -> dict[str, int]:
    """By operation, whatever parts it is in; of those that have any."""
    total: Counter[str] = Counter()
    for op in graph.ops:
        total[op.name.partition("<")[0]] += op.macs
    return {name: products for name, products in total.items() if products}


def test_a_norm_of_its_own_is_no_work() -> None:
    """Each norm's pass stores all tokens for those that read them afterwards; its one block of outputs is dropped."""
    graph = normalise_first(GRAPH, CONFIG)
    assert macs(graph) == macs(GRAPH)
    passes = [op for op in graph.ops if op.role == "normalise"]
    assert [op.name for op in passes] == [
        f"blocks.{name}.normalise" for name in ("0.attn.k", "0.mlp.fc1", "1.attn.k", "1.mlp.gate.depth")
    ]
    for op in passes:
        assert op.whole and op.tokens == 5 and op.tap is not None and op.target is not None
        assert op.weight_words == CONFIG.param_words + 2 * CONFIG.block_words
        assert (op.fields["out_count"], op.fields["in_blocks"]) == (min(8, 4 if "gate" in op.name else 32), 2)
        assert (graph.tensors[op.tap.tensor].tokens, graph.tensors[op.tap.tensor].words) == (5, 2)
        assert (graph.tensors[op.target.tensor].tokens, graph.tensors[op.target.tensor].words) == (5, 1)
    others = [op for op in graph.ops if op.opcode is Opcode.MATMUL and op not in passes]
    assert all(op.stream is not Stream.NORMALISED and op.tap is None for op in others)
    assert [op.name for op in others] == [op.name for op in GRAPH.ops if op.opcode is Opcode.MATMUL]


def test_a_norm_of_its_own_is_of_all_tokens() -> None:
    """The buffers of a stage that has one are not cut."""
    config = CONFIG.replace(activation_words=300)
    graph = lower(random_qmodel(replace(MODEL, image_size=(48, 48)), 0).reading_stored(), "depth", config)
    assert max(op.chunk for op in tile(graph, config).ops) > 0
    message = (
        r"op 'blocks.0.mlp.fc2': a LayerNorm pass of its own needs buffers for all tokens at once: buffer .* short"
    )
    with pytest.raises(CompileError, match=message):
        tile(normalise_first(graph, config), config)


@pytest.mark.parametrize(("size", "parts"), [(1, [1] * 5), (2, [2, 2, 1]), (4, [4, 1]), (5, [5]), (6, [5])])
def test_queries_in_groups(size: int, parts: list[int]) -> None:
    """Scores and context of all heads, group by group; nothing else, and nothing if one group takes all."""
    graph = split_queries(GRAPH, size)
    assert macs(graph) == macs(GRAPH)
    if len(parts) == 1:
        assert graph.ops == GRAPH.ops
        return
    for op in GRAPH.ops:
        groups = [part for part in graph.ops if part.name.partition("<")[0] == op.name]
        if op.kv is None:
            assert groups == [op]
            continue
        firsts = [sum(parts[:number]) for number in range(len(parts))]
        assert [(part.name, part.token, part.tokens) for part in groups] == [
            (f"{op.name}<{first}>", first, count) for first, count in zip(firsts, parts, strict=True)
        ]
        changed: dict[str, Any] = {"name": op.name, "token": op.token, "tokens": op.tokens, "macs": op.macs}
        assert all(replace(part, **changed) == op for part in groups)
