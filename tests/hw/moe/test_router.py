# amaranth: UnusedElaboratable=no
"""Router: exported Verilog against the golden function, and the constructors of its parts."""

from pathlib import Path

import pytest

from moesaic.hw.moe.argmax import ArgMax
from moesaic.hw.moe.gate import Gate
from moesaic.hw.moe.queues import ExpertQueues
from moesaic.hw.moe.router import Router
from moesaic.sim.verilated import cocotb_test


@pytest.mark.parametrize(("rows", "experts", "max_top_k", "max_tokens"), [(4, 10, 3, 20), (8, 8, 2, 33)])
def test_router(tmp_path: Path, rows: int, experts: int, max_top_k: int, max_tokens: int) -> None:
    unit = Router(rows=rows, experts=experts, max_top_k=max_top_k, max_tokens=max_tokens)
    cocotb_test(
        unit,
        name="router",
        module="tb_router",
        tmp_path=tmp_path,
        env={
            "ROWS": str(rows),
            "EXPERTS": str(experts),
            "MAX_TOP_K": str(max_top_k),
            "MAX_TOKENS": str(max_tokens),
            "LATENCY": str(unit.latency),
        },
    )


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="rows must be positive, not 0"):
        Router(rows=0, experts=4, max_top_k=2, max_tokens=8)
    with pytest.raises(ValueError, match="experts must be between 2 and 64, not 65"):
        Gate(experts=65, max_top_k=2)
    with pytest.raises(ValueError, match=r"max_top_k must be between 1 and experts \(4\), not 5"):
        Gate(experts=4, max_top_k=5)
    with pytest.raises(ValueError, match="tag_bits must be positive, not 0"):
        Gate(experts=4, max_top_k=2, tag_bits=0)
    with pytest.raises(ValueError, match="terms must be 2 or more, not 1"):
        ArgMax(bits=16, terms=1)
    with pytest.raises(ValueError, match="experts must be 2 or more, not 1"):
        ExpertQueues(experts=1, max_tokens=8, max_top_k=1)
    with pytest.raises(ValueError, match="max_tokens must be 2 or more, not 1"):
        ExpertQueues(experts=4, max_tokens=1, max_top_k=1)
    with pytest.raises(ValueError, match=r"max_top_k must be between 1 and experts \(4\), not 0"):
        ExpertQueues(experts=4, max_tokens=8, max_top_k=0)
