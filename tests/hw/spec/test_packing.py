"""Which instructions pack two keys in a row: the rule, the hardware's, and the heads that the compiler makes."""

import hashlib
import itertools
import json

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from moesaic.compiler.layout import HeadLayout
from moesaic.hw.decode.instruction import instruction_layout
from moesaic.hw.decode.packing import block_rows, packing
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Opcode, Stationary, Stream
from moesaic.hw.spec.packing import key_block, packs
from moesaic.hw.spec.presets import PRESETS

SMALL = PRESETS["micro8"].replace(extra_key=False, rows=4)
HEAD = {"stationary": Stationary.KEYS, "stream": Stream.ACTIVATION, "in_blocks": 1}


@pytest.mark.parametrize("config", [SMALL, SMALL.replace(packed_keys=True)], ids=["without", "with"])
def test_rule_and_hardware_agree(config: AcceleratorConfig) -> None:
    """Every head of a word of eight lanes, and one that ends beyond 8 bits, with every kind of operand."""
    lanes = [(low, count) for low in range(8) for count in range(1, 9 - low)] + [(3, 253), (255, 1)]
    kinds = itertools.product(Stationary, Stream, (1, 2, 3, 129, 255))
    cases = [
        {"stationary": stationary, "stream": stream, "in_blocks": blocks, "lane_low": low, "lane_count": count}
        for (stationary, stream, blocks), (low, count) in itertools.product(kinds, lanes)
    ]
    m = Module()
    op = Signal(instruction_layout(Opcode.MATMUL))
    answer, size = Signal(), Signal(range(256))
    m.d.comb += [answer.eq(packing(op, config)), size.eq(block_rows(answer, config))]
    got = []

    async def bench(ctx):
        for fields in cases:
            ctx.set(op, {name: int(value) for name, value in fields.items()})
            got.append((ctx.get(answer), ctx.get(size)))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    wanted = [packs(fields, config) for fields in cases]
    assert got == [(answer, 8 if answer else 4) for answer in wanted]
    # Of 4 channels or fewer in either half there are 10; and the one beyond all lanes.
    assert sum(wanted) == (21 if config.packed_keys else 0)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"lane_low": 0, "lane_count": 4}, True),
        ({"lane_low": 4, "lane_count": 4}, True),
        ({"lane_low": 0, "lane_count": 5}, False),
        ({"lane_low": 3, "lane_count": 2}, False),
        ({"lane_low": 0, "lane_count": 8}, False),
        ({"lane_low": 0, "lane_count": 4, "in_blocks": 2}, False),
        ({"lane_low": 0, "lane_count": 4, "stream": Stream.NORMALISED}, False),
        ({"lane_low": 0, "lane_count": 4, "stationary": Stationary.WEIGHTS}, False),
        ({"lane_low": 0, "lane_count": 4, "stationary": Stationary.VALUES, "stream": Stream.PROBABILITY}, False),
    ],
)
def test_which_pack(fields: dict[str, int], wanted: bool) -> None:
    assert packs(HEAD | fields, SMALL.replace(packed_keys=True)) is wanted
    assert not packs(HEAD | fields, SMALL)


@pytest.mark.parametrize("lanes", [8, 16, 64])
def test_blocks_of_keys_are_those_of_the_heads_that_the_compiler_lays_out(lanes: int) -> None:
    """The arithmetic knows a head's channels alone, the hardware its lanes."""
    for config in (SMALL.replace(lanes=lanes), SMALL.replace(lanes=lanes, packed_keys=True)):
        for head_dim in range(1, 2 * lanes + 2):
            layout = HeadLayout(heads=5, head_dim=head_dim, lanes=lanes)
            for head in range(layout.heads):
                fields = HEAD | {"lane_low": layout.lane(head), "lane_count": layout.lane_count}
                fields |= {"in_blocks": layout.words_per_head}
                assert key_block(config, head_dim) == config.rows * (1 + packs(fields, config)), (head_dim, head)


def test_the_hash_of_a_configuration_without_packed_keys_is_that_of_its_other_fields() -> None:
    fields = {k: v for k, v in SMALL.to_dict().items() if k not in ("name", "clock_mhz", "ultra_ram", "packed_keys")}
    assert SMALL.hash == hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    assert SMALL.replace(packed_keys=True).hash != SMALL.hash
