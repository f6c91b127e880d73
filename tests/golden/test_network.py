"""A network's graph: what it says of itself, and what is refused in one line."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moesaic.errors import InputError
from moesaic.golden.hollow import hollow_model
from moesaic.golden.layers.sizes import AttentionSizes, LayerSizes, MLPSizes, MoESizes, NormSizes
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.network import Network
from moesaic.golden.nodes import Edge, Image, Layer, Node, Origin, Sharing, TaskEmbeddingSizes, chain_of

IMAGE = Image(height=16, width=32, patch_height=4, patch_width=8)
KINDS = {
    "attention": AttentionSizes(heads=2, head_dim=4),
    "mlp": MLPSizes(hidden=12),
    "moe": MoESizes(experts=3, hidden=4, top_k=2),
}


def network(*blocks: tuple[str, ...], dim: int = 8) -> Network:
    layers = [[Layer(sizes=KINDS[kind], norm=NormSizes(eps=1e-5)) for kind in block] for block in blocks]
    return Network(tasks=("a", "b"), image=IMAGE, class_token=True, nodes=chain_of(IMAGE, 1, dim, layers))


GOOD = network(("attention", "mlp"), ("attention", "moe"), ("mlp", "mlp"))
BLOCK = st.tuples(
    st.lists(st.sampled_from(["attention", "mlp"]), max_size=3), st.sampled_from(["attention", "mlp", "moe"])
).map(lambda found: (*found[0], found[1]))


@settings(max_examples=60, deadline=None)
@given(st.lists(BLOCK, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_any_chain_is_a_network_whatever_the_order_of_its_nodes(blocks, random):
    made = network(*blocks)
    shuffled = list(made.nodes)
    random.shuffle(shuffled)
    assert replace(made, nodes=tuple(shuffled)) == made
    assert Network.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    fields = json.loads(json.dumps(made.to_dict()))
    del fields["image"]["pixel_mean"], fields["image"]["pixel_std"]  # they have defaults
    assert Network.from_dict(fields).image.pixel_mean == (0.5, 0.5, 0.5)
    assert [tuple(node.kind for node in block.nodes) for block in made.blocks] == [tuple(block) for block in blocks]
    assert made.macs == made.embed_macs + sum(map(made.block_macs, range(made.depth)))
    hollow = hollow_model(made)
    weights = sum(m.linear.weight.size for m in hollow.matrices() if m.task in (None, "a")) + hollow.embed.weight.size
    assert weights == made.weight_bytes
    assert [step.name for step in M3ViT(made).steps()] == [node.name for node in made.layers]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6))
def test_a_node_that_reads_another_is_refused(place: int, other: int):
    """Of seven nodes in a row, one reads another one than the one before it."""
    nodes = list(GOOD.nodes)
    if other == place - 1:
        return
    nodes[place] = replace(nodes[place], inputs=(nodes[other].name,))
    with pytest.raises(InputError, match="cycle|must be read by another node"):
        replace(GOOD, nodes=tuple(nodes))


def changed(place: int, **fields: object) -> Callable[[], Network]:
    nodes = list(GOOD.nodes)
    nodes[place] = replace(nodes[place], **fields)
    return lambda: replace(GOOD, nodes=tuple(nodes))


def changed_blocks(more: int) -> list[Node]:
    """The layers of the last block of GOOD, with another number and behind the embedding."""
    last = [replace(node, name=node.name.replace(".2.", f".{more}."), block=more) for node in GOOD.nodes[5:]]
    return [replace(last[0], inputs=("embed",)), replace(last[1], inputs=(last[0].name,))]


def cycle() -> Network:
    nodes = [*GOOD.nodes[:5]]
    nodes += [replace(GOOD.nodes[5], inputs=("blocks.2.mlp2",)), replace(GOOD.nodes[6], inputs=("blocks.2.mlp",))]
    return replace(GOOD, nodes=tuple(nodes))


def shares(place: int, owner: str, **fields: object) -> Callable[[], Network]:
    """GOOD with a second mixture; its node at `place` uses the matrices of another."""

    def make() -> Network:
        nodes = list(network(("mlp", "moe"), ("mlp", "moe")).nodes)
        for number in {2, place}:
            name = owner if number == place else nodes[number].name
            nodes[number] = replace(nodes[number], sharing=Sharing(owner=name, own_norms=True))
        nodes[place] = replace(nodes[place], **fields)
        return replace(GOOD, nodes=tuple(nodes))

    return make


def unread() -> Network:
    nodes = list(GOOD.nodes)
    nodes[6] = replace(nodes[6], inputs=("blocks.1.mlp",))
    return replace(GOOD, nodes=tuple(nodes))


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "unknown input": (changed(3, inputs=("x",)), "node 'blocks.1.attn': inputs must be nodes of the network, not 'x'"),
    "no input": (changed(3, inputs=()), r"node 'blocks.1.attn': inputs must be 1 \(.*chain.*\), not 0: none"),
    "two inputs": (changed(2, inputs=("embed", "blocks.0.attn")), "one residual stream"),
    "cycle": (cycle, "must follow one another without a cycle, not 'blocks.2.mlp', 'blocks.2.mlp2'"),
    "output nobody reads": (unread, r"node 'blocks.2.mlp': output must be read .*'blocks.1.mlp' is read by 'blocks.2"),
    "tokens": (
        changed(2, output=Edge(tokens=9, channels=8)),
        "output must be 17 tokens of 8 channels, as of 'blocks.0",
    ),
    "channels": (changed(2, output=Edge(tokens=17, channels=9)), "not 17 of 9"),
    "kind": (changed(2, kind="lstm"), "node 'blocks.0.mlp': kind must be one of embedding, attention, mlp, moe, not"),
    "sizes of another kind": (changed(2, sizes=KINDS["moe"]), "sizes must be MLPSizes, not MoESizes"),
    "no norm": (changed(2, norm=None), "must read the residual stream through a norm"),
    "eps": (changed(2, norm=NormSizes(eps=-1.0)), "node 'blocks.0.mlp': eps must be zero or positive"),
    "norm": (changed(2, norm=NormSizes(kind="batch")), "kind of norm must be one of layernorm, rmsnorm, not 'batch'"),
    "hidden": (changed(2, sizes=MLPSizes(hidden=0)), "hidden units of an MLP must be a positive integer, not 0"),
    "activation": (changed(2, sizes=MLPSizes(hidden=4, activation="x")), "activation must be one of gelu, .*, not 'x'"),
    "top_k": (changed(4, sizes=MoESizes(experts=2, hidden=4, top_k=3)), "top_k must be from 1 to the 2 experts, not 3"),
    "gate": (changed(4, sizes=replace(KINDS["moe"], gate_kind="x")), "gate_kind must be one of noisy_vmoe, noisy, not"),
    "task embedding": (changed(4, sizes=replace(KINDS["moe"], gate_task_dim=4)), "gate_task_dim must be 0 or 0"),
    "heads": (changed(1, sizes=AttentionSizes(heads=0, head_dim=4)), "heads must be a positive integer, not 0"),
    "no projection": (
        changed(1, sizes=AttentionSizes(heads=2, head_dim=8, projection=False)),
        "heads without a projection must have the 8 channels of a token, not 16",
    ),
    "name": (changed(2, name="blocks.1.mlp"), "names of nodes must be distinct"),
    "name of another block": (changed(6, name="blocks.9.mlp"), "name must be 'blocks.2.' and a word"),
    "block": (changed(6, block=4), "block must be 2 or 3, not 4"),
    "two embeddings": (
        lambda: replace(GOOD, nodes=(*GOOD.nodes, replace(GOOD.nodes[0], name="again"))),
        "a network must have one node of kind 'embedding', not 'embed', 'again'",
    ),
    "no embedding": (lambda: replace(GOOD, nodes=GOOD.nodes[1:]), "inputs must be nodes of the network, not 'embed'"),
    "embedding alone": (lambda: replace(GOOD, nodes=GOOD.nodes[:1]), "must be read by a layer"),
    "patch": (lambda: replace(GOOD, image=replace(IMAGE, patch_width=4)), "output must be 33 tokens"),
    "mixture first": (lambda: network(("moe", "mlp")), "a block must end with its mixture"),
    "learnt tokens": (lambda: replace(GOOD, extra_tokens=-1), "extra_tokens must be .*, not -1"),
    "learnt tokens as truth": (lambda: replace(GOOD, extra_tokens=False), "extra_tokens must be .*, not False"),
    "half a token": (lambda: replace(GOOD, extra_tokens=0.5), "extra_tokens must be .*, not 0.5"),
    "task": (lambda: replace(GOOD, tasks=("a", "a")), "tasks must be distinct names"),
    "shared experts of another shape": (
        shares(4, "blocks.0.mlp2", sizes=replace(KINDS["moe"], hidden=5)),
        "node 'blocks.1.mlp2': hidden must be 4, not 5, as of 'blocks.0.mlp2', whose matrices it uses",
    ),
    "shared with a later layer": (
        shares(2, "blocks.1.mlp2"),
        "node 'blocks.0.mlp2': matrices must be its own, or of an earlier layer that shares them, not 'blocks.1.mlp2'",
    ),
    "shared with a layer that keeps its own": (
        changed(6, sharing=Sharing(owner="blocks.2.mlp", own_norms=True)),
        "node 'blocks.2.mlp2': matrices must be its own, or of an earlier layer that shares them, not 'blocks.2.mlp'",
    ),
    "shared with another kind": (shares(3, "blocks.0.mlp2"), "kind must be 'moe', as of 'blocks.0.mlp2'"),
    "shared, gains in them or not": (
        shares(4, "blocks.0.mlp2", sharing=Sharing(owner="blocks.0.mlp2", own_norms=False)),
        "own_norms must be as of 'blocks.0.mlp2', whose matrices it uses, not False",
    ),
    "image": (lambda: replace(IMAGE, height=17), "image height must be a positive multiple of the patch's 4, not 17"),
    "width": (lambda: replace(IMAGE, width=0), "image width must be a positive multiple of the patch's 8, not 0"),
    "size as text": (lambda: replace(IMAGE, height="16"), "image height must be a positive multiple .*, not '16'"),
    "size as truth": (lambda: replace(IMAGE, patch_height=1, height=True), "image height must be .*, not True"),
    "patch of nothing": (lambda: replace(IMAGE, patch_height=0), "patch_height must be a positive integer, not 0"),
    "patch as truth": (lambda: replace(IMAGE, patch_width=True), "patch_width must be a positive integer, not True"),
    "channels of pixels": (lambda: replace(IMAGE, channels=1.0), "channels must be a positive integer, not 1.0"),
    "pixels": (lambda: replace(IMAGE, channels=1), "pixel_mean must be 1 numbers, one a channel"),
    "few pixel means": (lambda: replace(IMAGE, pixel_mean=(0.5,)), "pixel_mean must be three numbers, not"),
    "few deviations": (lambda: replace(IMAGE, pixel_std=(0.5,)), "pixel_std must be three positive numbers, not"),
    "no deviation": (lambda: replace(IMAGE, pixel_std=(0.5, 0.0, 1.0)), "pixel_std must be three positive numbers"),
    "norm of patches": (lambda: replace(IMAGE, patch_norm=NormSizes(eps=-1.0)), "norm of patches: eps must be zero"),
    "experts": (changed(4, sizes=replace(KINDS["moe"], experts=0)), "experts must be a positive integer, not 0"),
    "expert units": (changed(4, sizes=replace(KINDS["moe"], hidden=0)), "hidden units of experts must be a positive"),
    "no experts chosen": (changed(4, sizes=replace(KINDS["moe"], top_k=0)), "top_k must be from 1 to the 3 experts"),
    "task channels": (
        changed(4, sizes=replace(KINDS["moe"], gate_task_dim=-1)),
        "gate_task_dim must be an integer, 0 or",
    ),
    "expert activation": (changed(4, sizes=replace(KINDS["moe"], activation="x")), "activation must be one of gelu"),
    "head channels": (changed(1, sizes=AttentionSizes(heads=2, head_dim=0)), "channels of a head must be a positive"),
    "clipped softmax": (
        changed(1, sizes=AttentionSizes(heads=2, head_dim=4, clipped_softmax=-1.0)),
        "clipped_softmax must be above -1 and 0 at most, not -1.0",
    ),
    "softmax clipped to more": (
        changed(1, sizes=AttentionSizes(heads=2, head_dim=4, clipped_softmax=0.1)),
        "clipped_softmax must be above -1 and 0 at most, not 0.1",
    ),
    "norm without end": (changed(2, norm=NormSizes(eps=float("inf"))), "eps must be zero or positive"),
    "values of a patch": (
        changed(0, sizes=replace(GOOD.nodes[0].sizes, values=0)),
        "values of a patch must be a positive",
    ),
    "other values": (
        changed(0, sizes=replace(GOOD.nodes[0].sizes, values=95)),
        "patch must be 96, as the image is cut",
    ),
    "embedding in a block": (changed(0, block=0), "node 'embed': the embedding must have no block, not 0"),
    "embedding reads": (
        changed(0, inputs=("blocks.0.mlp",)),
        r"inputs must be 0 \(the embedding reads the image\), not 1",
    ),
    "no tokens": (changed(2, output=Edge(tokens=0, channels=8)), "output must have tokens and channels, not 0 and 8"),
    "no channels": (changed(2, output=Edge(tokens=17, channels=0)), "output must have tokens and channels, not 17 and"),
    "first block": (lambda: replace(GOOD, nodes=(GOOD.nodes[0], *changed_blocks(1))), "block must be 0, not 1"),
    "block as truth": (changed(1, block=False), "block must be 0, not False"),
    "task embedding of nothing": (
        lambda: replace(GOOD, task_embedding=TaskEmbeddingSizes(channels=0)),
        "channels of the task embedding must be positive, not 0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "fields", "message"),
    [
        (
            2,
            {"sizes": MLPSizes(hidden=4, activation="relu2", gated=True)},
            "'blocks.0.mlp' must be .* not with a gate of activation 'relu2'",
        ),
    ],
)
def test_what_has_no_integers_yet_is_refused_by_name(place: int, fields: dict[str, object], message: str) -> None:
    made = changed(place, **fields)()  # a network all the same
    for use in (hollow_model, M3ViT):
        with pytest.raises(InputError, match=message):
            use(made)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"clipped_softmax": -0.03}, "a clipped softmax .gamma -0.03."), ({"head_gates": True}, "gated attention")],
)
def test_what_is_there_for_training_alone(sizes: dict[str, object], message: str) -> None:
    """A network that can be trained, but of which there is no program."""
    made = changed(1, sizes=AttentionSizes(heads=2, head_dim=4, **sizes))()  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match=f"'blocks.0.attn' of network must be of what the accelerator runs, .* {message}"
    ):
        hollow_model(made)


def test_the_smallest_network() -> None:
    """One token of one channel; a mixture may be behind any number of layers."""
    image = Image(height=1, width=1, patch_height=1, patch_width=1)
    nodes = chain_of(image, 0, 1, [[Layer(sizes=MLPSizes(hidden=1), norm=NormSizes())]])
    assert Network(tasks=("a",), image=image, nodes=nodes).tokens == 1
    made = network(("attention", "mlp", "moe"), ("mlp",))
    assert [made.block_expert_bytes(block) for block in (0, 1)] == [64, 0]
    assert (made.mixtures, made.blocks[0].routed, made.blocks[1].routed) == ({0: (2, 3)}, (2, 3), None)


def test_where_it_stands_is_said_and_does_not_count() -> None:
    nodes = list(GOOD.nodes)
    nodes[2] = replace(nodes[2], origin=Origin(module="layers.0.mlp", line="net.py:12"))
    assert replace(GOOD, nodes=tuple(nodes)) == GOOD
    nodes[2] = replace(nodes[2], inputs=("x",))
    with pytest.raises(InputError, match=r"'blocks.0.mlp' \(layers.0.mlp, net.py:12\): inputs"):
        replace(GOOD, nodes=tuple(nodes))


def test_sizes_of_every_kind_say_what_they_cost() -> None:
    sizes: list[LayerSizes] = [*KINDS.values(), MLPSizes(hidden=12, gated=True)]
    assert [size.weight_bytes(8) for size in sizes] == [4 * 64, 2 * 96, 8 * 3 + 3 * 64, 3 * 96]
    assert [size.macs(8, 5) for size in sizes] == [5 * 8 * (32 + 10), 5 * 192, 5 * (24 + 2 * 64), 5 * 288]
    gates = replace(KINDS["moe"], gated=True)
    assert (gates.weight_bytes(8), gates.macs(8, 5), gates.expert_bytes(8)) == (8 * 3 + 3 * 96, 5 * (24 + 2 * 96), 96)
    bare = AttentionSizes(heads=1, head_dim=8, projection=False)
    assert (bare.weight_bytes(8), bare.macs(8, 5), bare.probability_macs(5)) == (192, 5 * 8 * (24 + 10), 200)
    assert [size.linear_at_end for size in (*sizes, bare, replace(bare, heads=2))] == [True] * 5 + [False]
    assert [size.expert_bytes(8) for size in sizes] == [0, 0, 64, 0]
    assert [size.probability_macs(5) for size in sizes] == [200, 0, 0, 0]
    assert [size.units for size in sizes] == [None, 12, 4, 12] and sizes[2].with_units(3) == replace(sizes[2], hidden=3)
    embed = GOOD.nodes[0].sizes
    assert (embed.weight_bytes(8), embed.macs(8, 5)) == (96 * 8, 5 * 96 * 8)
    assert isinstance(GOOD.nodes[0], Node) and GOOD.head_splits == ((2, 4),)


def test_a_head_goes_by_the_last_norm() -> None:
    """Not by one before it."""
    eps = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]
    nodes = [replace(node, norm=NormSizes(eps=one)) for node, one in zip(GOOD.nodes[1:], eps, strict=True)]
    assert replace(GOOD, nodes=(GOOD.nodes[0], *nodes)).eps == 1e-8


def test_a_network_without_some_layers() -> None:
    """What there is most of, of what there is none of; pixels that nobody has said how to scale."""
    assert (GOOD.most_experts, GOOD.most_top_k) == (3, 2)
    dense = network(("mlp",))
    assert (dense.most_experts, dense.most_top_k, dense.head_splits) == (0, 0, ())
    assert (IMAGE.pixel_mean, IMAGE.pixel_std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
