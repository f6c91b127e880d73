"""Passes by themselves on small graphs, and what they guarantee on whole models."""

import dataclasses
from collections import Counter
from contextlib import nullcontext

import pytest
from quantmodels import random_qmodel

from moesaic.compiler.alloc import allocate, place
from moesaic.compiler.batch import Batch
from moesaic.compiler.ir import CompileError, Graph, Op, Ref, Space, Tensor, live_ranges
from moesaic.compiler.layers.room import pipelined
from moesaic.compiler.layers.rooms import room
from moesaic.compiler.lower import lower
from moesaic.compiler.pipeline import compile_graphs
from moesaic.compiler.schedule import schedule
from moesaic.compiler.tile import tile
from moesaic.compiler.verify import verify
from moesaic.golden.config import PRESETS as MODELS
from moesaic.golden.config import M3ViTConfig, network_of
from moesaic.golden.hollow import hollow_model
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory, Opcode, Stationary, Stream
from moesaic.hw.spec.presets import PRESETS

SMALL = M3ViTConfig(image_size=(32, 48), patch_size=8, dim=32, heads=2, depth=2, experts=4, expert_hidden=48)
CONFIG = AcceleratorConfig(name="t", rows=8, lanes=16, port_bits=64, max_tokens=64, max_dim=128)


def three_nodes() -> Graph:
    """Image in, one product into the residual, result out."""
    tensors = {
        "image": Tensor(name="image", space=Space.ACTIVATION, tokens=4, words=2),
        "residual": Tensor(name="residual", space=Space.RESIDUAL, tokens=4, words=1),
    }
    fields = {
        "stationary": Stationary.WEIGHTS,
        "stream": Stream.ACTIVATION,
        "function": Function.ADD,
        "out_count": 8,
        "in_blocks": 2,
    }
    ops = (
        Op(
            name="position",
            opcode=Opcode.COPY,
            block=-1,
            stage="embed",
            role="position",
            tokens=4,
            target=Ref("residual"),
            weights="position",
            fields={"memory": Memory.RESIDUAL},
        ),
        Op(
            name="image",
            opcode=Opcode.COPY,
            block=-1,
            stage="embed",
            role="image",
            tokens=4,
            target=Ref("image"),
            weights="image",
            fields={"memory": Memory.ACTIVATION},
        ),
        Op(
            name="embed",
            opcode=Opcode.MATMUL,
            block=-1,
            stage="embed",
            role="embed",
            tokens=4,
            source=Ref("image"),
            target=Ref("residual"),
            weights="embed",
            fields=fields,
        ),
    )
    return Graph("t", tensors, ops)


def changed(graph: Graph, index: int, **changes: object) -> Graph:
    ops = list(graph.ops)
    ops[index] = dataclasses.replace(ops[index], **changes)
    return dataclasses.replace(graph, ops=tuple(ops))


@pytest.mark.parametrize(
    ("index", "changes", "message"),
    [
        (1, {"name": "position"}, "op 'position': name must be unique"),
        (2, {"tokens": 5}, "op 'embed': vectors 0 to 4 must lie in buffer 'image' of 4"),
        (2, {"token": -1}, "op 'embed': vectors -1 to 2 must lie in buffer 'image' of 4"),
        (2, {"source": Ref("pixels")}, "op 'embed': buffer 'pixels' does not exist"),
        (2, {"source": Ref("residual")}, "op 'embed': source and target must differ"),
        (2, {"weights": None}, "op 'embed': exactly the MATMULs with stationary WEIGHTS"),
        (2, {"fields": {"out_count": 8192}}, "op 'embed': field 'out_count' must be between 0 and 8191, not 8192"),
        (2, {"fields": {"colour": 1}}, "op 'embed': MATMUL has no field 'colour'"),
        (2, {"fields": {"in_blocks": 1}}, "op 'embed': out_count must be positive, not 0"),
        (2, {"expert": 0}, "op 'embed': expert 0 must follow the router"),
        (2, {"speculative": True}, "op 'embed': only an expert can be speculative"),
        (2, {"moved": 1, "tokens": 3}, "op 'embed': only an ADD that sums anew can write other tokens than it reads"),
        (2, {"source": None}, "op 'embed': a MATMUL must have a source"),
        (2, {"target": None}, "op 'embed': exactly the MATMULs with function ROUTE must have no target"),
        (1, {"weights": None}, "op 'image': a COPY must have a target and name a piece of the weight stream"),
        (2, {"feed_wait": 64}, "op 'embed': feed_wait must be between 0 and 63, not 64"),
        (1, {"target": None}, "op 'image': a COPY must have a target"),
    ],
)
def test_verify_names_the_operation(index, changes, message):
    verify(three_nodes())
    with pytest.raises(CompileError, match=message):
        verify(changed(three_nodes(), index, **changes))


def test_verify_finds_reads_before_writes():
    graph = three_nodes()
    with pytest.raises(CompileError, match="op 'embed': buffer 'image' must be written before it is read"):
        verify(graph.with_ops((graph.ops[0], graph.ops[2])))


def test_verify_finds_overlapping_buffers():
    graph = allocate(three_nodes(), CONFIG)
    other = dataclasses.replace(graph.tensors["image"], name="other", address=graph.tensors["image"].address + 7)
    graph = dataclasses.replace(graph, tensors={**graph.tensors, "other": other})
    extra = dataclasses.replace(graph.ops[1], name="again", target=Ref("other"))
    with pytest.raises(
        CompileError, match="buffer 'other': words 7 to 14 of the activation memory must not overlap 'image'"
    ):
        verify(dataclasses.replace(graph, ops=(graph.ops[0], graph.ops[1], extra, graph.ops[2])))


@pytest.mark.parametrize(("address", "overlaps"), [(0, True), (7, True), (8, False)])
def test_verify_knows_where_buffers_end(address: int, overlaps: bool):
    """Two buffers of eight words, the first at address 0; other memories have words of their own."""
    graph = allocate(three_nodes(), CONFIG)
    image = dataclasses.replace(graph.tensors["image"], address=0)
    other = dataclasses.replace(image, name="other", address=address)
    residual = dataclasses.replace(graph.tensors["residual"], address=0)
    tensors = {"image": image, "other": other, "residual": residual}
    extra = dataclasses.replace(graph.ops[1], name="again", target=Ref("other"))
    both = dataclasses.replace(graph, tensors=tensors, ops=(*graph.ops[:2], extra, graph.ops[2]))
    with pytest.raises(CompileError, match="must not overlap") if overlaps else nullcontext():
        verify(both)


def test_waits_of_three_nodes():
    graph = schedule(allocate(three_nodes(), CONFIG), CONFIG)
    assert [(op.feed_wait, op.load_wait) for op in graph.ops] == [(0, 0), (0, 0), (1, 0)]
    # A COPY writes when it is loaded: it must let the earlier reader finish, two places before.
    norm = Op(name="norm", opcode=Opcode.NORM, block=-1, stage="embed", role="norm", fields={"dim": 8, "epsilon": 1})
    again = dataclasses.replace(graph.ops[1], name="image again")
    graph = schedule(graph.with_ops((*graph.ops, norm, again)), CONFIG)
    assert [(op.feed_wait, op.load_wait) for op in graph.ops[3:]] == [(0, 0), (0, 2)]


def test_wait_is_at_most_63():
    graph = allocate(three_nodes(), CONFIG)
    norms = [
        Op(name=f"norm {i}", opcode=Opcode.NORM, block=-1, stage="embed", role="norm", fields={"dim": 8, "epsilon": 1})
        for i in range(80)
    ]
    late = schedule(graph.with_ops((*graph.ops[:2], *norms, graph.ops[2])), CONFIG)
    # A younger instruction than the producer is a stronger wait; nothing older has waited yet.
    assert late.ops[-1].feed_wait == 63


def test_buffers_share_words_only_when_dead():
    graph = three_nodes()
    placed = place(graph.tensors, live_ranges(graph), CONFIG)
    assert {name: t.address for name, t in placed.items()} == {"image": 0, "residual": 0}
    with pytest.raises(
        CompileError,
        match=(
            r"buffer 'image' of 4100 words does not fit: the activation memory of 4096 words "
            r"\(activation_words\) is 4 words \(64 bytes\) short"
        ),
    ):
        big = dataclasses.replace(graph.tensors["image"], tokens=2050)
        place({**graph.tensors, "image": big}, live_ranges(graph), CONFIG)


def test_pipelined_order():
    ops = {name: dataclasses.replace(three_nodes().ops[2], name=name) for name in ("a0", "b0", "a1", "b1", "a2", "b2")}
    pairs = [(ops[f"a{i}"], ops[f"b{i}"]) for i in range(3)]
    assert [op.name for op in pipelined(pairs)] == ["a0", "a1", "b0", "a2", "b1", "b2"]


def names(graph: Graph, block: int) -> list[str]:
    return [op.name.removeprefix(f"blocks.{block}.") for op in graph.ops if op.block == block and op.stage != "result"]


def test_order_hides_waits():
    qmodel = random_qmodel(SMALL, 0)
    _, graph = compile_graphs(qmodel, CONFIG, task="semseg", speculate=2)
    assert names(graph, 0) == [
        "norm1",
        "attn.k",
        "attn.q",
        "attn.v",
        "attn.scores.0",
        "attn.scores.1",
        "attn.attend.0",
        "attn.attend.1",
        "attn.proj",
        "norm2",
        "mlp.fc1",
        "mlp.fc2",
    ]
    a, b, c, d = qmodel.blocks[1].layers[1].order["semseg"]
    # Two speculated experts, then two that wait for the router: the second pair's weights stay behind the first's.
    assert [n.removeprefix("mlp.experts.") for n in names(graph, 1)[11:]] == [
        f"{a}.fc1",
        f"{b}.fc1",
        f"{a}.fc2",
        f"{b}.fc2",
        f"{c}.fc1",
        f"{d}.fc1",
        f"{c}.fc2",
        f"{d}.fc2",
    ]
    by_name = {op.name: op for op in graph.ops}
    assert by_name["blocks.0.attn.scores.0"].load_wait == 3  # K
    assert by_name["blocks.0.attn.scores.0"].feed_wait == 2  # Q
    assert by_name["blocks.0.attn.attend.0"].load_wait == 3  # V
    assert by_name["blocks.0.attn.attend.1"].feed_wait == 2  # its own scores
    first = by_name[f"blocks.1.mlp.experts.{a}.fc1"]
    assert (first.feed_wait, first.load_wait) == (1, 1)  # the router
    second = by_name[f"blocks.1.mlp.experts.{b}.fc1"]
    assert (second.feed_wait, second.load_wait) == (0, 0)  # implied


def test_speculation_follows_the_order():
    qmodel = random_qmodel(SMALL, 0)
    for count in (0, 3, 9):
        graph = lower(qmodel, "depth", CONFIG, speculate=count)
        assert [op.expert for op in graph.ops if op.speculative and op.role == "fc1"] == list(
            qmodel.blocks[1].layers[1].order["depth"]
        )[:count]


def test_default_speculation():
    qmodel = random_qmodel(SMALL, 0)
    moe = qmodel.blocks[1].layers[1]
    expert = 2 * 32 * 48
    assert room(moe).speculation(moe, Batch.of("depth"), CONFIG) == CONFIG.prefetch_bytes // expert == 2
    assert room(moe).speculation(moe, Batch.of("depth"), CONFIG.replace(prefetch_words=64)) == 1
    usage = [0.0] * 4
    usage[moe.order["depth"][0]] = 0.9
    seldom = dataclasses.replace(moe, usage={"depth": tuple(usage)})
    assert room(seldom).speculation(seldom, Batch.of("depth"), CONFIG) == 1
    for layer in (qmodel.blocks[0].layers[0], qmodel.blocks[0].layers[1]):
        assert room(layer).speculation(layer, Batch.of("depth"), CONFIG) == 0


@pytest.mark.parametrize(("images", "load_rows", "slack"), [(1, 4, 0), (2, 4, 1), (3, 4, 0), (2, 2, 0), (4, 4, 1)])
def test_positions_of_a_later_image_end_behind_the_last_vector(images: int, load_rows: int, slack: int):
    """Images of 5 tokens of 5 words: a COPY of the last one's positions begins inside a word of the stream."""
    model = dataclasses.replace(SMALL, image_size=(16, 16), dim=80)
    config = CONFIG.replace(load_rows=load_rows)
    graph = lower(random_qmodel(model, 0), Batch(("depth",), images), config)
    multiple, words = load_rows // 2, images * 25
    assert graph.tensors["residual"].slack == slack
    assert graph.tensors["residual"].size == -(-words // multiple) * multiple + slack


def test_copies_for_further_tasks_are_no_work():
    """What makes them is computed once more, and counted once."""
    graph = lower(random_qmodel(SMALL, 0), Batch(("depth", "semseg")), CONFIG)
    copies = [op for op in graph.ops if op.moved]
    assert [(op.name, op.moved, op.macs) for op in copies] == [("blocks.1.attn.proj.semseg", 25, 0)]
    last = next(op for op in graph.ops if op.name == "blocks.1.attn.proj")
    assert last.macs == 25 * 32 * 32


def test_chunks_only_where_needed():
    qmodel = random_qmodel(SMALL, 0)
    whole = tile(lower(qmodel, "depth", CONFIG), CONFIG)
    assert all(op.chunk == 0 for op in whole.ops)
    tight = CONFIG.replace(activation_words=150)
    graph = tile(lower(qmodel, "depth", tight), tight)
    fc1 = [op for op in graph.ops if op.name.startswith("blocks.0.mlp.fc1")]
    assert len(fc1) > 1
    assert sum(op.tokens for op in fc1) == network_of(SMALL).tokens
    assert [op.token for op in fc1[1:]] == [sum(op.tokens for op in fc1[:i]) for i in range(1, len(fc1))]
    assert sum(op.role == "k" for op in graph.ops) == 2  # keys stay whole
    with pytest.raises(CompileError, match=r"op 'embed': no chunk of tokens is small enough: buffer 'image\[0\]'"):
        none = CONFIG.replace(activation_words=60)
        tile(lower(qmodel, "depth", none), none)


@pytest.mark.parametrize(
    ("name", "preset", "chunks"), [("m3vit-small", "zcu104-small", 6), ("m3vit-small-r1", "zcu102-small", 7)]
)
def test_m3vit_small_reads_its_weights_once(name: str, preset: str, chunks: int):
    """Only scores and probabilities go in chunks; hidden layers of all tokens reach into the key/value memory."""
    model, config = dataclasses.replace(MODELS[name], depth=2), PRESETS[preset]
    _, graph = compile_graphs(hollow_model(network_of(model), 8), config, task="semseg")
    assert {op.chunk for op in graph.ops if op.stage == "attention"} == set(range(chunks))
    assert {op.chunk for op in graph.ops if op.stage != "attention"} == {0}
    read = Counter(op.weights for op in graph.ops if op.weights is not None)
    assert set(read.values()) == {1}
    ends = {tensor.name: tensor.address + tensor.size for tensor in graph.tensors.values()}
    assert ends["blocks.0.mlp.hidden"] > config.activation_words
    assert all(
        ends[name] <= config.activation_words
        for name, tensor in graph.tensors.items()
        if tensor.space is Space.ACTIVATION and not tensor.spills
    )


def test_what_spills_makes_room_for_keys():
    """Of two buffers alive at once one gives way, where the memories are joint; alive one after the other, none."""
    config = CONFIG.replace(activation_words=100, kv_words=60, joint_memories=True)
    hidden = Tensor(name="hidden", space=Space.ACTIVATION, tokens=130, words=1, spills=True)
    keys = Tensor(name="keys", space=Space.KV, tokens=60, words=1)
    small = Tensor(name="small", space=Space.ACTIVATION, tokens=25, words=1)
    tensors = {tensor.name: tensor for tensor in (hidden, keys, small)}
    placed = place(tensors, {"hidden": (2, 3), "keys": (0, 1), "small": (2, 3)}, config)
    assert {name: tensor.address for name, tensor in placed.items()} == {"hidden": 25, "keys": 0, "small": 0}
    with pytest.raises(CompileError, match="buffer 'hidden' of 130 words does not fit: .* of 160 words"):
        place(tensors, {"hidden": (1, 3), "keys": (0, 1), "small": (2, 3)}, config)
    with pytest.raises(CompileError, match="buffer 'hidden' of 130 words does not fit: .* of 100 words"):
        place({"hidden": dataclasses.replace(hidden, spills=False)}, {"hidden": (2, 3)}, config)


def test_context_starts_at_the_group_of_its_head():
    """Rows narrower than a word: no pass of the array is spent on the channels of other heads."""
    config = CONFIG.replace(lanes=64)
    graph = lower(random_qmodel(SMALL, 0), "depth", config)
    attend = next(op for op in graph.ops if op.name == "blocks.0.attn.attend.1")
    fields = {name: attend.fields[name] for name in ("group", "out_count", "lane_low", "lane_count")}
    assert fields == {"group": 2, "out_count": 16, "lane_low": 16, "lane_count": 16}


@pytest.mark.parametrize(
    ("lanes", "size", "class_token", "wide", "extra"),
    [(8, 64, True, False, 1), (16, 64, True, False, 1), (16, 64, False, False, 0), (16, 48, True, False, 0)]
    + [(16, 64, True, True, 0)],
)
def test_a_key_beyond_whole_blocks_needs_no_pass(lanes, size, class_token, wide, extra):
    """That of a class token beside a multiple of `lanes` patches; there is no such unit for 16 bits, or by default."""
    model = dataclasses.replace(SMALL, image_size=(64, size + 8 * (size < 64)), class_token=class_token)
    config = CONFIG.replace(lanes=lanes, port_bits=64, max_tokens=80, acc_bits=40, wide_operands=wide, extra_key=True)
    network = network_of(model)
    hollow, tokens = hollow_model(network, 16 if wide else 8), network.tokens
    assert (tokens % lanes == 1) == bool(extra or wide)
    for offered in (True, False):
        graph, _ = compile_graphs(hollow, config.replace(extra_key=offered), task="semseg")
        here = extra if offered else 0
        for op in graph.ops:
            if op.role in ("scores", "attend"):
                counted = op.fields["out_count" if op.role == "scores" else "key_count"]
                assert (counted, op.fields["extra"], op.keys) == (tokens - here, here, tokens)
        words = {tensor.words for name, tensor in graph.tensors.items() if ".p." in name}
        assert words == {-(-(tokens - here) // lanes)}


def test_a_copy_takes_whole_words_of_the_weight_stream():
    """Behind its last word, up to as many words as one of the stream brings."""
    image = Tensor(name="image", space=Space.ACTIVATION, tokens=5, words=3, multiple=4, address=100)
    op = Op(name="image", opcode=Opcode.COPY, block=-1, stage="embed", role="image", tokens=5, target=Ref("image"))
    graph = Graph(task="x", tensors={"image": image}, ops=(op,))
    assert graph.word_range(op, "image", written=True) == (100, 116)
    exact = dataclasses.replace(image, multiple=1)
    assert dataclasses.replace(graph, tensors={"image": exact}).word_range(op, "image", written=True) == (100, 115)
