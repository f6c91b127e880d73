"""What the compiler makes of single layers: their order, their parts, and what they are refused for."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from quantmodels import layer_replaced, random_qmodel

from moesaic.compiler.batch import Batch
from moesaic.compiler.builder import Builder
from moesaic.compiler.check import check
from moesaic.compiler.ir import CompileError, Op, Ref
from moesaic.compiler.layers.attention import AttentionRoom
from moesaic.compiler.layers.hidden import Hidden
from moesaic.compiler.layers.mlp import MLPRoom
from moesaic.compiler.lower import lower
from moesaic.compiler.tile import tile
from moesaic.golden.config import M3ViTConfig, network_of
from moesaic.golden.hollow import hollow_model
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.sizes import AttentionSizes, MLPSizes, MoESizes, NormSizes
from moesaic.golden.network import Network
from moesaic.golden.nodes import Image, Layer, Sharing, chain_of
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Opcode, Stream

MODEL = M3ViTConfig(name="m", image_size=(16, 16), patch_size=8, dim=32, heads=2, depth=2, experts=4, expert_hidden=16)
CONFIG = AcceleratorConfig(name="c", rows=8, lanes=16, ports=2, port_bits=64, max_tokens=64, max_dim=128)


def parts(*roles: str, chunk: int, overlap: bool) -> list[Op]:
    return [
        Op(name=f"{role}{chunk}", opcode=Opcode.MATMUL, block=0, stage="mlp", role=role, chunk=chunk, overlap=overlap)
        for role in roles
    ]


@pytest.mark.parametrize(
    ("roles", "overlap", "order"),
    [
        (("fc1", "fc2"), True, "norm9 fc10 fc11 fc20 fc12 fc21 fc22"),
        (("gain", "fc1", "fc2"), True, "norm9 gain0 fc10 gain1 fc11 fc20 gain2 fc12 fc21 fc22"),
        (("fc1", "fc2"), False, "norm9 fc10 fc20 fc11 fc21 fc12 fc22"),
        (("gain", "fc1", "fc2"), False, "norm9 gain0 fc10 fc20 gain1 fc11 fc21 gain2 fc12 fc22"),
    ],
)
def test_hidden_units_of_the_next_chunk_come_first(roles: tuple[str, ...], overlap: bool, order: str) -> None:
    """Where two buffers fit; what a gain makes comes right before its hidden units."""
    chunks = [parts(*roles, chunk=number, overlap=overlap) for number in range(3)]
    whole = parts("norm", chunk=9, overlap=overlap)
    assert " ".join(op.name for op in MLPRoom().order(whole, chunks)) == order


@pytest.mark.parametrize(("bits", "refused"), [(21, True), (22, False)])
def test_the_largest_score(bits: int, refused: bool) -> None:
    """64 products of two bytes of -128 are 2^20."""
    model = hollow_model(network_of(replace(MODEL, dim=128)))
    config = CONFIG.replace(acc_bits=bits)
    if not refused:
        return check(model, config, tasks=["depth"], blocks=2)
    message = r"layer 'blocks.0.attn': score accumulator must be below 2\*\*20 \(acc_bits 21\) .* not 1048576"
    with pytest.raises(CompileError, match=message):
        check(model, config, tasks=["depth"], blocks=2)


def test_heads_share_the_channels() -> None:
    qmodel = random_qmodel(MODEL, 0)
    attention = replace(qmodel.blocks[0].layers[0], heads=3)
    wrong = replace(qmodel, blocks=(layer_replaced(qmodel.blocks[0], 0, attention), qmodel.blocks[1]))
    message = "layer 'blocks.0.attn': channels of q must be a multiple of the 3 heads, not 32"
    with pytest.raises(CompileError, match=message):
        AttentionRoom().check(attention, CONFIG, ["depth"])
    with pytest.raises(CompileError, match=message):
        check(wrong, CONFIG, tasks=["depth"], blocks=2)


@pytest.mark.parametrize(
    ("bits", "apart", "what"),
    [(16, True, ""), (16, False, "'w16a16'"), (8, True, ""), (8, False, "'16 for some layers'")],
)
def test_a_norm_of_its_own_has_8_bits(bits: int, apart: bool, what: str) -> None:
    """Said of a whole network, and of one with a layer of 16 bits."""
    finer = {} if bits == 16 else {"blocks.0.attn": "wide"}
    model = hollow_model(network_of(MODEL), bits, finer)
    config = CONFIG.replace(wide_operands=True, acc_bits=40)
    if not what:
        return check(model, config, tasks=["depth"], blocks=2, normalise_on_read=apart)
    with pytest.raises(
        CompileError, match=f"widths must be of 8 bits where LayerNorm has a pass of its own, not .*{what}"
    ):
        check(model, config, tasks=["depth"], blocks=2, normalise_on_read=apart)


def test_chunks_do_the_work_of_the_whole() -> None:
    """Each part of the tokens has its share of the products; an expert counts those of one token."""
    graph = lower(random_qmodel(replace(MODEL, image_size=(48, 48)), 0), "depth", CONFIG)
    tiled = tile(graph, CONFIG.replace(activation_words=120))
    assert max(op.chunk for op in tiled.ops) > 1
    for op in graph.ops:
        of_op = [part.macs for part in tiled.ops if part.name.partition("[")[0] == op.name]
        assert set(of_op) == {op.macs} if op.expert is not None else sum(of_op) == op.macs


@pytest.mark.parametrize("gated", [False, True])
def test_operations_do_the_products_of_the_network(gated: bool) -> None:
    """Those of an expert are of one token: each token chooses two of four."""
    sizes: dict[str, Any] = {"activation": "silu", "gated": gated}
    blocks = [
        [Layer(sizes=AttentionSizes(heads=3, head_dim=5), norm=NormSizes())],
        [Layer(sizes=MLPSizes(hidden=19, **sizes), norm=NormSizes())],
        [Layer(sizes=MoESizes(experts=4, hidden=11, top_k=2, **sizes), norm=NormSizes())],
    ]
    image = Image(height=8, width=12, patch_height=4, patch_width=2)
    network = Network(tasks=("x",), image=image, nodes=chain_of(image, 0, 15, blocks))
    graph = lower(hollow_model(network), "x", CONFIG)
    done = Counter[int]()
    for op in graph.ops:
        done[op.block] += op.macs if op.expert is None else op.macs * 12 * 2 // 4
    assert done == {-1: network.embed_macs} | {number: network.block_macs(number) for number in range(3)}
    assert done[1] == 12 * 15 * 19 * (3 if gated else 2)


@pytest.mark.parametrize(
    ("activation", "gated", "scalar", "outputs"),
    [("silu", False, 3, 19), ("silu", True, 0, 24 + 19), ("relu2", False, 0, 19)],
)
def test_hidden_units(activation: str, gated: bool, scalar: int, outputs: int) -> None:
    """A gate's blocks of 8 outputs lie before the last values; what squares, or is gated, has no other factor."""
    fc1, gate = QuantLinear.zeros("fc1", 19, 15), QuantLinear.zeros("gate", 19, 15) if gated else None
    hidden = Hidden(fc1=fc1, gate=gate, activation=activation, mult=3, shift=4)
    where: dict[str, Any] = {"source": Ref("a"), "target": Ref("b"), "inputs": 15, "stream": Stream.ACTIVATION}
    op = hidden.op(Builder(12, Batch.of("x"), CONFIG, None), 0, "mlp", group="g", **where)
    assert op.macs == 12 * 15 * 19 * (2 if gated else 1)
    assert (op.fields.get("scalar", 0), op.fields["out_count"], op.fields["post_shift"]) == (scalar, outputs, 4)
    assert op.fields.get("gated", 0) == gated and op.tokens == 12


def test_what_a_gain_makes() -> None:
    """Where layers share matrices: keys and values need it of all tokens at once, hidden units of a chunk's."""
    sizes = AttentionSizes(heads=3, head_dim=5), MLPSizes(hidden=19), MoESizes(experts=4, hidden=11, top_k=2)
    image = Image(height=8, width=12, patch_height=4, patch_width=2)
    nodes = chain_of(image, 0, 15, [[Layer(sizes=size, norm=NormSizes())] for size in sizes])
    own = [replace(node, sharing=Sharing(owner=node.name, own_norms=True)) for node in nodes[1:]]
    graph = lower(hollow_model(Network(tasks=("x",), image=image, nodes=(nodes[0], *own))), "x", CONFIG)
    gains = {op.stage: op for op in graph.ops if op.role == "gain"}
    assert {stage: op.whole for stage, op in gains.items()} == {"attention": True, "mlp": False, "moe": False}
    for stage, op in gains.items():
        assert op.target is not None and (op.block, op.tokens, op.macs) == (op.block, 12, 12 * 15 * 15)
        readers = [each for each in graph.ops if each.source is not None and each.source.tensor == op.target.tensor]
        assert len(readers) == {"attention": 3, "mlp": 1, "moe": 4}[stage]
        assert {reader.stream for reader in readers} == {Stream.ACTIVATION} and op.stream is Stream.NORMALISED
