"""The integer model against a second one, written with loops on Python integers from the instruction semantics."""

import dataclasses

import numpy as np
import pytest
import torch
from quantmodels import layer_replaced

from moesaic.golden.config import M3ViTConfig
from moesaic.golden.layers.attention import attend
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.moe import QuantMoE
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.m3vit import build, seeded
from moesaic.golden.m3vit_int import IntM3ViT, force_experts
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.golden.saturation import Saturation
from moesaic.golden.trace import Trace
from moesaic.hw.spec import tables
from moesaic.hw.spec.chains import most_probability_bits

torch.set_num_threads(1)  # tensors this small only lose by more

Rows = list[list[int]]


def tiny(**changes: object) -> M3ViTConfig:
    sizes = {
        "name": "tiny",
        "image_size": (16, 16),
        "patch_size": 8,
        "dim": 16,
        "heads": 2,
        "depth": 2,
        "mlp_ratio": 2.0,
        "experts": 4,
        "expert_hidden": 8,
        "top_k": 2,
    }
    return M3ViTConfig(**{**sizes, **changes})


def network(seed: int = 1, **changes: object) -> tuple[QuantModel, np.ndarray]:
    config = tiny(**changes)
    model = build(config, seed)
    with torch.no_grad():  # sharp attention, so that the running maximum moves
        for block in model.blocks:
            block.attn.qkv.weight[: 2 * config.dim] *= 2.5
    images = np.random.default_rng(seed).integers(0, 256, (4, 3, *config.image_size), dtype=np.uint8)
    return quantize(model, images, weights="seeded"), images


def saturate(x: int, bits: int) -> int:
    return max(-(1 << (bits - 1)), min((1 << (bits - 1)) - 1, x))


def shift_round(x: int, shift: int) -> int:
    return (2 * x + (1 << shift)) // (2 << shift)  # floor(x / 2^shift + 1/2)


def linear(matrix: QuantLinear, x: Rows) -> Rows:
    result = []
    for vector in x:
        row = []
        for weights, bias, mult in zip(matrix.weight.tolist(), matrix.bias.tolist(), matrix.mult.tolist(), strict=True):
            acc = sum(w * v for w, v in zip(weights, vector, strict=True)) + bias
            assert abs(acc) < 1 << 26
            row.append(saturate(shift_round(acc * mult, matrix.shift), 16))
        result.append(row)
    return result


def reciprocal(x: int) -> tuple[int, int]:
    e = x.bit_length() - 1
    m = x << 15 >> e
    y = tables.reciprocal_table()[(m >> 9) - 64]
    return min(y * ((2**32 - m * y) >> 15) >> 16, 65535), e


def rsqrt(x: int) -> tuple[int, int]:
    e = (x.bit_length() - 1) // 2
    m = x << 14 >> (2 * e)
    y = tables.rsqrt_table()[(m >> 8) - 64]
    return min(y * ((3 * 2**30 - m * (y * y >> 16)) >> 14) >> 17, 65535), e


def norm(c: QuantNorm, x: Rows) -> Rows:
    result = []
    for row in x:
        total, squares = sum(row), sum(v * v for v in row)
        mean = shift_round(total * c.inv_dim, c.inv_dim_shift)
        r, e = rsqrt(c.dim * squares - total * total + c.epsilon)
        multiplier = (r * c.scale + 2048) >> 12
        offset = -mean * multiplier >> 18
        result.append([saturate(shift_round(v * multiplier + offset, e + c.shift), 13) for v in row])
    return result


def streamed(n: Rows) -> Rows:
    """What the array takes in one pass."""
    return [[max(v // 16, -255) for v in row] for row in n]


def gelu(x: int) -> int:
    knots = [*tables.gelu_knots(), 0]
    i, f = min(abs(x) >> 5, len(knots) - 2), abs(x) & 31
    delta = knots[i] * 32 + (knots[i + 1] - knots[i]) * f  # 21 fraction bits
    return shift_round(max(x, 0) * 2048 - delta, 11)


def code(d: int) -> int:
    exponent = 0
    while exponent < 3 and d + 256 >= 2 << exponent + 8:
        exponent += 1
    return min(64 * exponent + shift_round(d + 256, exponent + 2) - 64, 255)


def head(attention: object, q: Rows, k: Rows, v: Rows, block: int) -> Rows:
    context = []
    for query in q:
        scores = []
        for key in k:
            acc = sum(a * b for a, b in zip(query, key, strict=True))
            scores.append(saturate(shift_round(acc * attention.score_mult, attention.score_shift), 16))
        stored: list[tuple[int, int]] = []  # steps of 1/64 of a power of two, and below which maximum
        bits = most_probability_bits(block, block)
        level = -10000
        for low in range(0, len(scores), block):
            part = scores[low : low + block]
            maximum = -(-max(part) // 256)
            codes = [code(256 * maximum - score) for score in part]
            weights = [
                sum(tables.power_table()[c // 4] for c in codes[first : first + 2 ** (bits - 8)])
                for first in range(0, len(codes), 2 ** (bits - 8))
            ]
            quarters = 0
            while 255 * 2 ** ((quarters - 4) / 4) < max(weights):
                quarters += 1
            level = max(level, 4 * maximum + quarters - 4)
            stored += [((64 + c % 64) * 2 ** (c // 64) - 64, maximum) for c in codes]
        final = []
        for distance, maximum in stored:
            below = distance + 16 * (level - 4 * maximum)
            final.append(shift_round(tables.probability_table(bits)[below % 64], min(below // 64, 15) + 1))
        r, e = reciprocal(sum(final))
        multiplier = (r * attention.context_mult + 32768) >> 16
        row = []
        for channel in range(len(v[0])):
            acc = sum(p * value[channel] for p, value in zip(final, v, strict=True))
            row.append(saturate(shift_round(acc * multiplier, attention.context_shift + e), 8))
        context.append(row)
    return context


def add(old: Rows, new: Rows, shift: int = 0) -> Rows:
    return [
        [saturate(shift_round(a, shift) + saturate(b, 16), 16) for a, b in zip(x, y, strict=True)]
        for x, y in zip(old, new, strict=True)
    ]


def int8(x: Rows) -> Rows:
    return [[saturate(v, 8) for v in row] for row in x]


def hidden(x: Rows, mult: int, shift: int) -> Rows:
    return [[saturate(shift_round(gelu(v) * mult, shift), 8) for v in row] for row in x]


def mixture(moe: QuantMoE, x: Rows, task: str, order: tuple[int, ...]) -> Rows:
    normed = norm(moe.norm, x)
    queues: dict[int, list[tuple[int, int]]] = {}
    for token, logits in enumerate(linear(moe.gates[task], normed)):
        ranked = sorted(range(len(logits)), key=lambda e: (-logits[e], e))[: moe.top_k]
        powers = []
        for logit in logits:
            d = (max(logits) - logit) << moe.logit_shifts[task]
            powers.append(shift_round(tables.wide_exp2_table()[d // 4 % 256], min(d // 1024, 31)))
        r, e = reciprocal(sum(powers[i] for i in ranked) if moe.renormalise else sum(powers))
        for i in ranked:
            queues.setdefault(i, []).append((token, min(shift_round(powers[i] * r, e), 65535)))
    result = [list(row) for row in x]
    for i in order:
        for token, score in queues.get(i, []):
            stored = [[v // 32 for v in normed[token]]]
            inner = hidden(linear(moe.experts[i].fc1, stored), moe.hidden_mult, moe.hidden_shift)
            out = linear(moe.experts[i].fc2, inner)[0]
            result[token] = add([result[token]], [[shift_round(v * score, moe.score_shift) for v in out]])[0]
    return result


def reference(q: QuantModel, image: np.ndarray, task: str, block: int) -> list[Rows]:
    """Every block's residual, as nested lists."""
    image_cut = q.network.image
    p, (down, across) = image_cut.patch_height, image_cut.grid
    vectors = [[0] * image_cut.patch_values for _ in range(q.network.prefix_tokens)]
    for y in range(down):
        for x in range(across):
            vectors.append(
                [int(image[c, y * p + i, x * p + j]) - 128 for c in range(3) for i in range(p) for j in range(p)]
            )
    residual = add(q.position.tolist(), linear(q.embed, vectors))
    outputs = []
    for b in q.blocks:
        a = b.layers[0]
        normed = streamed(norm(a.norm, residual))
        qkv = [int8(linear(m, normed)) for m in (a.q, a.k, a.v)]
        context: Rows = [[] for _ in residual]
        for h in range(a.heads):
            low, high = h * a.head_dim, (h + 1) * a.head_dim
            for row, part in zip(context, head(a, *([r[low:high] for r in t] for t in qkv), block), strict=True):
                row += part
        residual = add(residual, linear(a.proj, context), a.residual_shift)
        if isinstance(b.layers[1], QuantMoE):
            residual = mixture(b.layers[1], residual, task, b.layers[1].order[task])
        else:
            inner = hidden(
                linear(b.layers[1].fc1, streamed(norm(b.layers[1].norm, residual))),
                b.layers[1].hidden_mult,
                b.layers[1].hidden_shift,
            )
            residual = add(residual, linear(b.layers[1].fc2, inner))
        outputs.append(residual)
    return outputs


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gate_kind": "noisy"},
        {"gate_scope": "task_conditioned", "gate_task_dim": 4},
        {"class_token": False},
        {"extra_tokens": 2, "gate_bias": True, "gelu": "tanh"},
        {"experts": 0},
        {"dim": 24, "heads": 3, "top_k": 3},
    ],
    ids=lambda c: "-".join(f"{k}={v}" for k, v in c.items()) or "plain",
)
def test_equals_loops_on_python_integers(changes):
    q, images = network(**changes)
    for task in q.network.tasks:
        for key_block in (2, 8):
            got = IntM3ViT(q, key_block).run(images[0], task)
            assert [x.tolist() for x in got] == reference(q, images[0], task, key_block)
            assert all(x.dtype == np.int16 and x.shape == (q.network.tokens, q.network.dim) for x in got)


def test_saturating_residual_and_lagging_probabilities():
    q, images = network()
    # Experts 256 times as loud as they should be: the order of the additions shows.
    block = q.blocks[1]
    assert isinstance(block.layers[1], QuantMoE)
    loud = layer_replaced(block, 1, dataclasses.replace(block.layers[1], score_shift=block.layers[1].score_shift - 8))
    first = layer_replaced(q.blocks[0], 0, dataclasses.replace(q.blocks[0].layers[0], residual_shift=2))
    q = dataclasses.replace(q, blocks=(first, loud))
    got = IntM3ViT(q, 1).run(images[1], "depth")
    assert [x.tolist() for x in got] == reference(q, images[1], "depth", 1)
    assert np.abs(got[1].astype(int)).max() >= 32767
    turned = {task: tuple(reversed(order)) for task, order in loud.layers[1].order.items()}
    again = IntM3ViT(q, 1).run(images[1], "depth", order=turned)
    other = layer_replaced(loud, 1, dataclasses.replace(loud.layers[1], order=turned))
    assert again[1].tolist() == reference(dataclasses.replace(q, blocks=(first, other)), images[1], "depth", 1)[1]
    assert (again[1] != got[1]).any()


@pytest.mark.parametrize("context_mult", [5, 301, 40000])
def test_attention_on_wild_values(context_mult):
    q, _ = network()
    # Few bits in the multiplier, so that its own rounding shows; scores that saturate and that jump between blocks.
    attention = dataclasses.replace(
        q.blocks[0].layers[0],
        context_mult=context_mult,
        context_shift=context_mult.bit_length() - 2,
        score_mult=65535,
        score_shift=15,
    )
    rng = np.random.default_rng(context_mult)
    for scale in (1, 6, 128):
        q8, k8, v8 = (rng.integers(-scale, scale, (n, 8)) for n in (20, 13, 13))
        v8 = np.clip(v8 * 127, -128, 127)
        for block in (1, 4, 16):
            sizes = {"key_block": block, "bits": most_probability_bits(block, block)}
            _, p, context = attend(attention, q8, k8, v8, Saturation(), **sizes)
            assert context.tolist() == head(attention, q8.tolist(), k8.tolist(), v8.tolist(), block)
            assert p.min() >= 0 and p.max() <= 510


def test_trace_has_the_float_models_names():
    q, images = network()
    model = seeded(q.network, 1)
    whole, integer = Trace(), Trace()
    with torch.no_grad():
        model(images[0], 0, trace=whole)
    IntM3ViT(q, 4).run(images[0], 0, trace=integer)
    assert set(integer) == set(whole) - {"pixels"}
    for name in integer:
        if "expert_" not in name:  # routing may differ
            assert integer[name].shape == whole[name].shape, name
    assert integer["blocks.0.attn.probs"].dtype == np.int16
    assert integer["blocks.1.mlp.gate.scores"].dtype == np.uint16


def test_stops_after_blocks():
    q, images = network()
    full = IntM3ViT(q, 4).run(images[0], 0)
    assert np.array_equal(IntM3ViT(q, 4).run(images[0], 0, blocks=1)[0], full[0])
    assert len(IntM3ViT(q, 4).run(images[0], 0, blocks=1)) == 1


def test_forced_experts_are_plain_data():
    q, images = network()
    trace, plain = Trace(only=("gate.index", "gate.logits")), Trace(only=("gate.logits",))
    got = IntM3ViT(q, 4).run(images[0], 0, forced_experts=[3, 1], trace=trace)
    IntM3ViT(q, 4).run(images[0], 0, trace=plain)
    assert set(trace["blocks.1.mlp.gate.index"].ravel()) == {1, 3}
    logits = trace["blocks.1.mlp.gate.logits"]
    assert (logits[:, [0, 2]] == -32768).all()
    assert np.array_equal(logits[:, [1, 3]], plain["blocks.1.mlp.gate.logits"][:, [1, 3]])
    forced = force_experts(q, {1, 3})
    assert [x.tolist() for x in got] == reference(forced, images[0], "semseg", 4)


def test_errors_name_the_value():
    q, images = network()
    with pytest.raises(ValueError, match="key_block must be positive, not 0"):
        IntM3ViT(q, 0)
    with pytest.raises(ValueError, match=r"experts must be 2 or more of 0\.\.3, not \[1\]"):
        force_experts(q, [1])
    with pytest.raises(ValueError, match=r"experts must be 2 or more of 0\.\.3, not \[1, 4\]"):
        force_experts(q, [1, 4])
    with pytest.raises(ValueError, match=r"image must be uint8 \[3, 16, 16\], not float64 \[3, 16, 16\]"):
        IntM3ViT(q, 4).run(images[0].astype(float), 0)
    with pytest.raises(ValueError, match="task must be one of semseg, depth, not 'sal'"):
        IntM3ViT(q, 4).run(images[0], "sal")
    with pytest.raises(ValueError, match=r"order must name each of the 4 experts once, not \[0, 1\]"):
        IntM3ViT(q, 4).run(images[0], 0, order={"semseg": [0, 1]})
