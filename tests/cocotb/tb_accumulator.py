"""Accumulator against numpy: sums over the blocks of inputs, the shift between two passes, lone operations, reuse; sums
of the upper lanes, which pass.
"""

import json
import os

import cocotb
import numpy as np
from bench import Bench
from cocotb.handle import SimHandleBase
from rigid import pack

from moesaic.hw.decode.operation import operation_layout
from moesaic.hw.engine.array import sum_bits
from moesaic.hw.engine.extra import extra_products_layout, extra_score_bits
from moesaic.hw.spec.latency import REUSE_CYCLES
from moesaic.hw.spec.presets import PRESETS

CONFIG = PRESETS["micro8"].replace(**json.loads(os.environ["CHANGES"]))
OPERATION = operation_layout()
SUM_BITS = sum_bits(CONFIG.lanes)
EXTRA = int(CONFIG.extra_key)
UPPER = CONFIG.rows * CONFIG.packed_keys  # sums of the upper lanes
ACC_BITS = CONFIG.acc_bits * (CONFIG.rows + EXTRA)  # of all
SCORE_BITS, PRODUCT_BITS = extra_score_bits(CONFIG), extra_products_layout(CONFIG).elem_shape.width


def wrap(values: np.ndarray) -> np.ndarray:
    """Two's complement of the accumulators' width."""
    half = 1 << CONFIG.acc_bits - 1
    return (values + half) % (2 * half) - half


class Rig:
    """One operation or nothing per cycle, with the early half a cycle before; compares what comes a cycle after."""

    def __init__(self, dut: SimHandleBase, seed: int) -> None:
        self.bench, self.rng = Bench(dut), np.random.default_rng(seed)
        self.entries = np.zeros((CONFIG.max_tokens, CONFIG.rows + EXTRA), np.int64)
        self.next: tuple[dict[str, int], np.ndarray] | None = None
        self.due: tuple[int, np.ndarray | None, np.ndarray] | None = None
        self.finished = 0

    async def start(self) -> None:
        options = dict.fromkeys(("score", "products") if EXTRA else ("upper",) if UPPER else (), 0)
        await self.bench.start(early__valid=0, early__payload=0, i__valid=0, i__payload=0, sums=0, **options)

    def _random(self, bits: int, count: int) -> np.ndarray:
        return self.rng.integers(-(1 << bits - 1), 1 << bits - 1, count)

    async def cycle(self, operation: dict[str, int] | None = None, sums: np.ndarray | None = None) -> None:
        """Announce an operation; the one announced before arrives."""
        bench, now = self.bench, self.next
        early = operation is not None and bool(operation["vector"])
        bench.set("early__valid", int(early))
        slot = operation["slot"] if early else int(self.rng.integers(CONFIG.max_tokens))
        bench.set("early__payload", OPERATION.const({"vector": 1, "slot": slot}).as_bits())
        bench.set("i__valid", int(now is not None))
        noise = self._random(SUM_BITS, CONFIG.rows)
        # The extra key: a sum of its own, and what it adds to the first ones of the others.
        more, first = self._random(SCORE_BITS, EXTRA), self._random(PRODUCT_BITS, CONFIG.rows * EXTRA)
        if EXTRA:
            bench.set("score", pack(more, SCORE_BITS))
            bench.set("products", pack(first, PRODUCT_BITS))
        upper = self._random(SUM_BITS, UPPER)
        if UPPER:
            bench.set("upper", pack(upper, SUM_BITS))
        start = np.concatenate([first if EXTRA else np.zeros(CONFIG.rows, np.int64), np.zeros(EXTRA, np.int64)])
        expected: tuple[int, np.ndarray | None, np.ndarray] | None = None
        if now is None:
            bench.set("sums", pack(noise, SUM_BITS))
        else:
            fields, values = now
            bits = OPERATION.const(fields).as_bits()
            bench.set("i__payload", bits)
            bench.set("sums", pack(values, SUM_BITS))
            if fields["vector"]:
                slot = fields["slot"]
                old = start if fields["acc_first"] else self.entries[slot]
                shifted = old << 8 if fields["acc_shift"] and not fields["acc_first"] else old
                total = wrap(shifted + np.concatenate([values, more]))
                self.entries[slot] = total
                if fields["acc_last"]:
                    expected = bits, total, upper
            else:
                expected = bits, None, upper
        due = self.due
        assert bench.get("o__valid") == (due is not None), bench.cycle
        if due is not None:
            assert bench.get("o__payload") & (1 << OPERATION.size) - 1 == due[0]
            if due[1] is not None:
                wanted = pack(due[1], CONFIG.acc_bits) | pack(due[2], SUM_BITS) << ACC_BITS
                assert bench.get("o__payload") >> OPERATION.size == wanted, (bench.cycle, due)
                self.finished += 1
        self.due = expected
        self.next = None if operation is None else (operation, noise if sums is None else sums)
        await bench.step()

    async def matmul(self, tokens: int, blocks: int, *, shift: int = 0, gaps: float = 0.0, lone: bool = False) -> None:
        """All passes of one block of outputs."""
        for block in range(blocks):
            for slot in range(tokens):
                while self.rng.random() < gaps:
                    await self.cycle()
                await self.cycle(
                    {
                        "vector": 1,
                        "slot": slot,
                        "acc_first": int(block == 0),
                        "acc_last": int(block == blocks - 1),
                        "acc_shift": int(bool(shift) and block == shift),
                        "token": int(self.rng.integers(4096)),
                    }
                )
            for _ in range(tokens, REUSE_CYCLES):
                await self.cycle()
            if lone:
                await self.cycle({"vector": 0, "end": 1, "slot": int(self.rng.integers(CONFIG.max_tokens))})


@cocotb.test()
async def matches_numpy(dut: SimHandleBase) -> None:
    rig = Rig(dut, 1)
    await rig.start()
    most, wanted = CONFIG.max_tokens, 0
    for tokens in (1, 2, 3, 4, 5, most - 1, most):
        for blocks in (1, 2, 5):
            for gaps, lone in ((0.0, False), (0.4, False), (0.0, True)):
                await rig.matmul(tokens, blocks, gaps=gaps, lone=lone)
                wanted += tokens
            if blocks > 1:
                await rig.matmul(tokens, blocks, shift=blocks // 2)
                wanted += tokens
    await rig.cycle()
    await rig.cycle()
    assert rig.finished == wanted


@cocotb.test()
async def one_vector_per_cycle(dut: SimHandleBase) -> None:
    rig = Rig(dut, 2)
    await rig.start()
    begin = rig.bench.cycle
    await rig.matmul(CONFIG.max_tokens, 3)
    await rig.cycle()
    await rig.cycle()
    assert rig.bench.cycle - begin == 3 * CONFIG.max_tokens + 2 and rig.finished == CONFIG.max_tokens
