"""What `ddr.sv` and `dram.sv` are told of a memory: their plusargs."""

from moesaic.compiler.memory import DdrTiming
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["memory_plusargs"]

_TICKS = 1024  # of a cycle, as in dram.sv


def memory_plusargs(ddr: DdrTiming, config: AcceleratorConfig) -> list[str]:
    """Plusargs of a memory for an accelerator: ideal is what `ddr.sv` is without any but the latency."""
    plain = [f"+latency={ddr.latency}"]
    if (dram := ddr.dram) is None:
        return plain
    channels = 2 * config.ports + 1  # of data: every port reads, all but one also write
    ticks = {
        "rate": dram.rate,
        "refresh": dram.refresh,
        "recovery": dram.recovery,
        "row": dram.row,
        "to_write": dram.to_write,
        "to_read": dram.to_read,
    }
    return [
        *plain,
        f"+bandwidth={channels * config.port_bits // 8}",  # the DRAM is what limits
        *(f"+dram_{name}={round(value * _TICKS)}" for name, value in ticks.items()),
        f"+dram_row_bytes={dram.row_bytes}",
        f"+dram_banks={dram.banks}",
        f"+dram_posted={dram.posted}",
        f"+dram_ahead={dram.ahead}",
    ]
