"""Work of an operation."""

import pytest

from moesaic.compiler.ir import Op
from moesaic.energy.activity import Activity, op_activity
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Opcode, Stationary, Stream


@pytest.mark.parametrize(("packed", "blocks", "outputs"), [(False, 5, 8), (True, 3, 16)])
def test_packed_keys(packed: bool, blocks: int, outputs: int) -> None:
    """33 keys, 7 queries: fewer vectors and results, as many words of keys, results of whole blocks written."""
    config = AcceleratorConfig(name="t", rows=8, lanes=32, packed_keys=packed)
    fields = {"stationary": Stationary.KEYS, "stream": Stream.ACTIVATION, "function": Function.SOFTMAX}
    head = {"out_count": 33, "in_blocks": 1, "lane_low": 16, "lane_count": 16}
    op = Op(name="x", opcode=Opcode.MATMUL, block=0, stage="", role="", tokens=7, fields=fields | head)
    word, passes = 8 * config.lanes, 7 * blocks
    assert op_activity(op, 7, 0, config) == Activity(
        vectors=passes,
        results=passes,
        stationary_words=33,
        activation_words=passes,
        activation_bits=passes * (word + 8 * outputs),
        kv_bits=33 * word,
        accumulator_bits=2 * passes * config.rows * config.acc_bits,
    )
