# amaranth: UnusedElaboratable=no
import random

import pytest
from amaranth.sim import Simulator, SimulatorContext

from moesaic.hw.memory.serialiser import Serialiser


@pytest.mark.parametrize("beats", [1, 2, 5])
@pytest.mark.parametrize("give", [1.0, 0.4])
@pytest.mark.parametrize("take", [1.0, 0.4])
def test_beats(beats: int, give: float, take: float) -> None:
    rng = random.Random(beats)
    words = [rng.getrandbits(8 * beats) for _ in range(40)]
    dut = Serialiser(word_bits=8 * beats, beat_bits=8)
    got: list[tuple[int, int]] = []

    async def bench(ctx: SimulatorContext) -> None:
        left, valid = list(words), False
        for cycle in range(40 * beats * 10):
            valid = valid or (bool(left) and rng.random() < give)
            ctx.set(dut.i.valid, valid)
            ctx.set(dut.i.payload, left[0] if valid else rng.getrandbits(8 * beats))
            ctx.set(dut.o.ready, rng.random() < take)
            if ctx.get(dut.o.valid & dut.o.ready):
                got.append((cycle, ctx.get(dut.o.payload)))
            if ctx.get(dut.i.valid & dut.i.ready):
                left.pop(0)
                valid = False
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert [beat for _, beat in got] == [word >> 8 * k & 255 for word in words for k in range(beats)]
    if give == take == 1.0:
        assert [cycle for cycle, _ in got] == list(range(1, 40 * beats + 1))


def test_parameters() -> None:
    with pytest.raises(ValueError, match=r"word_bits must be a multiple of beat_bits \(8\), not 20"):
        Serialiser(word_bits=20, beat_bits=8)
