"""The table of what an instruction may be: against the prose, as text, and complete."""

import dataclasses
import random
from pathlib import Path

import pytest
from meaning import meaningless

from moesaic.hw.spec import isa
from moesaic.hw.spec.functions import FUNCTIONS
from moesaic.hw.spec.isa import FORMATS, Function, Memory, Opcode, Stationary, Stream
from moesaic.hw.spec.legal import RULES, refusal, to_markdown
from moesaic.hw.spec.presets import PRESETS

DOCUMENT = Path(__file__).parents[3] / "docs" / "isa.md"
CONFIG = PRESETS["micro16"].replace(extra_key=True)
MATMUL = {"out_count": 20, "in_blocks": 2, "token_count": 3}
HEAD = {**MATMUL, "lane_count": 8}
SOFTMAX = {**HEAD, "function": Function.SOFTMAX, "stationary": Stationary.KEYS}
ATTEND = {
    **HEAD,
    "function": Function.ATTEND,
    "stationary": Stationary.VALUES,
    "stream": Stream.PROBABILITY,
    "key_count": 2 * CONFIG.lanes,
}
ROUTE = {**MATMUL, "function": Function.ROUTE, "out_count": 8, "top_k": 2}
TAP = {"tap": 1, "stream": Stream.NORMALISED}
GOOD = {
    Opcode.MATMUL: [
        MATMUL,
        {**MATMUL, "function": Function.GELU, "expert_valid": 1, "expert": 3, "narrow": 1},
        {**MATMUL, "function": Function.SILU},
        {**MATMUL, "function": Function.SIGMOID},
        {**MATMUL, "function": Function.RELU2},
        {**MATMUL, "function": Function.RELU, "gated": 1, "out_count": 2 * CONFIG.rows - 3},
        {**MATMUL, "function": Function.GELU, "gated": 1, "out_count": 4 * CONFIG.rows, "expert_valid": 1},
        {**MATMUL, "function": Function.ADD, "dst_memory": Memory.RESIDUAL},
        {**MATMUL, **TAP, "dst_memory": Memory.KV},
        SOFTMAX,
        ATTEND,
        {**SOFTMAX, "extra": 1},
        {**ATTEND, "extra": 1},
        {**ROUTE, **TAP},
        {**ROUTE, "stream": Stream.NORMALISED, "wide_stream": 1, "shift_block": 1},
        {**MATMUL, "wide_stream": 1, "shift_block": 1, "wide_result": 1},
        {**ATTEND, "wide_stationary": 1, "in_blocks": 4, "shift_block": 2},
        {**SOFTMAX, "wide_stream": 1, "wide_stationary": 1, "in_blocks": 8, "shift_block": 2},
    ],
    Opcode.NORM: [{"dim": CONFIG.max_dim, "epsilon": 1}],
    Opcode.COPY: [{"memory": Memory.RESIDUAL, "words": 1}],
    Opcode.FETCH: [{"beats": 4 * CONFIG.beats_per_word, "expert_valid": 1, "expert": 2}],
    Opcode.STORE: [{"words": 3, "src_addr": CONFIG.residual_words - 3, "offset": CONFIG.port_bits // 8}],
}


NEARLY = {
    Opcode.MATMUL: [
        {**ATTEND, "wide_stream": 1, "shift_block": 1},
        {**SOFTMAX, "wide_stream": 1, "shift_block": 1, "extra": 1},
        {**ATTEND, "wide_stationary": 1, "in_blocks": 4, "shift_block": 2, "extra": 1},
        {**MATMUL, "wide_stationary": 1, "shift_block": 1, "narrow": 1},
        {**MATMUL, "function": Function.RELU2, "gated": 1},
        {**MATMUL, "function": Function.RELU, "gated": 1, "out_count": 2 * CONFIG.rows + 1},
    ]
}


def complete(opcode, fields):
    return isa.decode(isa.encode(opcode, fields))[1]


def variants(opcode, count, seed):
    """Instructions with a meaning, a few fields of each changed at random."""
    rng = random.Random(seed)
    bases = [complete(opcode, fields) for fields in GOOD[opcode] + NEARLY.get(opcode, [])]
    for base in bases:
        yield dict(base)
    for _ in range(count):
        fields = dict(rng.choice(bases))
        for field in rng.sample(FORMATS[opcode].fields[1:], rng.choice((1, 1, 2, 3))):
            limit = (1 << field.bits) - 1 if field.values is None else max(field.values)
            fields[field.name] = rng.choice((0, 1, limit, rng.randrange(limit + 1)))
        yield fields


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"narrow_weights": False, "rows": 8, "silu": False, "gated_mlp": False, "extra_key": False},
        {"wide_operands": True, "acc_bits": 40, "sigmoid": False},
    ],
    ids=["1", "2", "wide"],
)
@pytest.mark.parametrize("opcode", list(Opcode), ids=lambda opcode: opcode.name)
def test_refuses_what_the_prose_gives_no_meaning(opcode, changes):
    config, verdicts = CONFIG.replace(**changes), []
    for fields in variants(opcode, 1000, seed=int(opcode)):
        verdicts.append(meaningless(opcode, fields, config))
        assert (refusal(opcode, fields, config) is not None) == verdicts[-1], fields
    assert len(verdicts) / 10 < sum(verdicts) < len(verdicts) * 9 / 10


@pytest.mark.parametrize("opcode", list(Opcode), ids=lambda opcode: opcode.name)
def test_no_rule_is_there_for_nothing(opcode):
    """Each one alone refuses some instruction."""
    alone = set()
    left_out = dict.fromkeys(("narrow_weights", "silu", "sigmoid", "gated_mlp", "extra_key"), False)
    bare = CONFIG.replace(rows=8, **left_out)
    for config in (bare, CONFIG.replace(wide_operands=True, acc_bits=40)):
        for fields in variants(opcode, 5000, seed=8):
            names = {**dataclasses.asdict(config), **fields}
            names |= {name: getattr(config, name) for name in ("groups", "beats_per_word")}
            broken = [k for k, rule in enumerate(RULES[opcode]) if rule.broken(names.__getitem__)]
            alone |= {*broken} if len(broken) == 1 else set()
    assert alone == set(range(len(RULES[opcode])))


def test_gates_whose_memory_is_left_out():
    fields = {**MATMUL, "function": Function.GELU, "gated": 1}
    assert refusal(Opcode.MATMUL, fields, CONFIG) is None
    assert refusal(Opcode.MATMUL, fields, CONFIG.replace(gated_mlp=False)) == (
        "gated must be 0 on a configuration without gated_mlp, not 1"
    )


def test_an_extra_key_whose_unit_is_left_out():
    fields = {**SOFTMAX, "extra": 1}
    assert refusal(Opcode.MATMUL, fields, CONFIG) is None
    assert refusal(Opcode.MATMUL, fields, CONFIG.replace(extra_key=False)) == (
        "extra must be 0 on a configuration without extra_key, not 1"
    )


@pytest.mark.parametrize("option", ["silu", "sigmoid"])
def test_a_function_whose_unit_is_left_out(option):
    fields = {**MATMUL, "function": Function[option.upper()]}
    assert refusal(Opcode.MATMUL, fields, CONFIG) is None
    assert refusal(Opcode.MATMUL, fields, CONFIG.replace(**{option: False})) == (
        f"with function {option.upper()}, the configuration must have {option}, not {option} = False"
    )


@pytest.mark.parametrize(
    ("opcode", "fields", "message"),
    [
        (
            Opcode.MATMUL,
            {**MATMUL, "function": Function.GELU, "dst_memory": Memory.RESIDUAL},
            "with function GELU, dst_memory must be ACTIVATION or KV, not RESIDUAL",
        ),
        (
            Opcode.MATMUL,
            {**ATTEND, "key_count": 900},
            (
                "with stationary VALUES and wide_stationary 0, key_count must be between "
                "(in_blocks - 1) * lanes + 1 = 17 and in_blocks * lanes = 32, not 900"
            ),
        ),
        (
            Opcode.MATMUL,
            {**MATMUL, "wide_result": 1},
            "wide_result must be 0 on a configuration without wide_operands, not 1",
        ),
        (
            Opcode.MATMUL,
            {**MATMUL, "function": Function.SILU, "gated": 1, "out_count": 33},
            "with gated 1, out_count must end in an odd block of 16, counted from 0, not 33",
        ),
        (
            Opcode.MATMUL,
            {**MATMUL, "function": Function.RELU2, "gated": 1},
            "with gated 1, function must be GELU, RELU, SILU or SIGMOID, not RELU2",
        ),
        (Opcode.MATMUL, {**MATMUL, "out_count": 0}, "out_count must be positive, not 0"),
        (Opcode.MATMUL, {**ROUTE, "out_count": 1}, "with function ROUTE, top_k must be at most out_count = 1, not 2"),
        (Opcode.NORM, {"dim": 4000, "epsilon": 1}, "dim must be between 1 and 128, not 4000"),
        (Opcode.COPY, {"memory": Memory.KV, "words": 1}, "memory must be ACTIVATION or RESIDUAL, not KV"),
        (Opcode.STORE, {"words": 1, "offset": 8}, "offset must be a multiple of 16, not 8"),
    ],
)
def test_reason(opcode, fields, message):
    assert refusal(opcode, complete(opcode, fields), CONFIG) == message


def test_without_a_configuration_or_a_field_its_rules_are_left_out():
    assert refusal(Opcode.NORM, {"dim": 4000, "epsilon": 1}) is None
    assert refusal(Opcode.NORM, {"dim": 4000}, CONFIG) == "dim must be between 1 and 128, not 4000"
    assert refusal(Opcode.NORM, {"epsilon": 0}) == "epsilon must be positive, not 0"


def test_document_is_current():
    section = DOCUMENT.read_text(encoding="utf-8").split("## What an instruction may be\n\n")[1].split("\n## ")[0]
    assert section.endswith(to_markdown())


def test_every_function_has_a_row():
    assert list(FUNCTIONS) == list(Function)
