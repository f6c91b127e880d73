"""Streams vectors through a rigid pipeline, with gaps full of noise, and compares every result and its cycle."""

import os
import random
from collections import deque
from collections.abc import Mapping

import numpy as np
from bench import Bench
from cocotb.handle import SimHandleBase

__all__ = ["Columns", "check_pipeline", "integer", "pack"]

Columns = Mapping[str, tuple[np.ndarray, int]]  # port -> values [vectors] or [vectors, lanes], bits of one value


def integer(name: str) -> int:
    """A parameter of the test, from its environment."""
    return int(os.environ[name])


def pack(values: object, bits: int) -> int:
    """Neighbouring fields of one port, the first lowest, in two's complement."""
    word, mask = 0, (1 << bits) - 1
    for position, value in enumerate(np.atleast_1d(np.asarray(values)).tolist()):
        word |= (value & mask) << position * bits
    return word


async def check_pipeline(
    dut: SimHandleBase,
    *,
    latency: int,
    inputs: Columns,
    outputs: Columns,
    before: Mapping[str, int] | None = None,
    seed: int = 0,
    valid: bool = True,
) -> None:
    """Send every row of `inputs`, expect the rows of `outputs` `latency` cycles later, of some ports as many cycles
    `before`: with gaps first, then without. Not all pipelines say which rows are `valid`.
    """
    rng = random.Random(seed)
    words = {port: [pack(row, bits) for row in values] for port, (values, bits) in inputs.items()}
    expected = {port: [pack(row, bits) for row in values] for port, (values, bits) in outputs.items()}
    widths = {port: bits * int(np.prod(values.shape[1:])) for port, (values, bits) in inputs.items()}
    count = len(next(iter(words.values())))
    assert count and all(len(column) == count for column in (*words.values(), *expected.values()))

    bench = Bench(dut)
    await bench.start(**({"i_valid": 0} if valid else {}), **{port: 0 for port in words})
    flight: list[int | None] = [None] * latency
    seen = {port: deque([0], maxlen=cycles + 1) for port, cycles in (before or {}).items()}
    sent = received = 0
    while received < count:
        go = sent < count and (sent >= 200 or rng.random() < 0.6)
        if valid:
            bench.set("i_valid", int(go))
        for port, column in words.items():
            bench.set(port, column[sent] if go else rng.getrandbits(widths[port]))
        flight.append(sent if go else None)
        sent += go
        due = flight.pop(0)
        for port, values in seen.items():
            values.append(bench.get(port))
        wrong = f"o_valid is wrong in cycle {bench.cycle}, vector {due}"
        assert not valid or bench.get("o_valid") == (due is not None), wrong
        if due is not None:
            assert due == received
            for port, column in expected.items():
                got = seen[port][0] if port in seen else bench.get(port)
                if got != column[due]:
                    sample = {name: np.asarray(values)[due].tolist() for name, (values, _) in inputs.items()}
                    wanted = np.asarray(outputs[port][0])[due].tolist()
                    raise AssertionError(
                        f"vector {due}: {port} is {got:#x}, not {column[due]:#x} = {wanted}; inputs {sample}"
                    )
            received += 1
        await bench.step()
    if not valid:
        return
    bench.set("i_valid", 0)
    for _ in range(latency + 1):
        await bench.step()
        due = flight.pop(0) if flight else None
    assert bench.get("o_valid") == 0
