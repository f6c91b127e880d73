"""DDR in cycles of the accelerator's clock: what the cost model reckons with, and what the simulation gets."""

from dataclasses import dataclass

from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["BOARD_MEMORY", "DDR_LATENCY", "IDEAL", "IDEAL_MEMORY", "MEMORIES", "DdrTiming", "DramTiming"]

IDEAL_MEMORY, BOARD_MEMORY = MEMORIES = ("ideal", "board")  # what a user may ask for

DDR_LATENCY = 100  # cycles from a request's address to its first beat
_GRANT = 3  # cycles in which the controller's answer and the beat's register hold a place in a port's FIFO


@dataclass(frozen=True, kw_only=True)
class DramTiming:
    """A DRAM behind a controller, as `sim/dram.sv` models it.

    Parameters
    ----------
    rate : float, bytes per cycle
        Of the data bus, all ports together.
    refresh, recovery : float, cycles
        Between refreshes, and that one takes.
    row : float, cycles
        From the last transfer of a bank to the first of another of its rows.
    row_bytes : int
        In one row of one bank.
    banks : int
    to_write, to_read : float, cycles
        That are lost between reading and writing, and back.
    posted : int, bytes
        Of writes that are collected while somebody reads.
    ahead : int, beats
        Of a port that may be between the DRAM and the fabric.
    """

    rate: float
    refresh: float
    recovery: float
    row: float
    row_bytes: int
    banks: int
    to_write: float
    to_read: float
    posted: int
    ahead: int = 128

    @property
    def busy(self) -> float:
        """Share of the time in which no refresh runs."""
        return 1 - self.recovery / self.refresh


@dataclass(frozen=True)
class DdrTiming:
    """What the ports see.

    Parameters
    ----------
    latency : int, cycles
        From a request's address to its first beat, if nothing else waits.
    dram : DramTiming or None
        None: a beat for every port in every cycle.
    """

    latency: int = DDR_LATENCY
    dram: DramTiming | None = None

    def bytes_per_cycle(self, config: AcceleratorConfig) -> float:
        """What the weight ports get in a cycle, on average over many: what they can take, or what the data bus gives
        between refreshes, the smaller. Rows and turns are left out.

        A port's FIFO takes whole bursts: with long ones it is full before the first of them arrives, and the port
        waits.
        Ports that are slower than the bus do not notice as much of a refresh as is on its way beyond the latency.
        """
        if (dram := self.dram) is None:
            return config.stripe_bytes
        bursts = min(max(1, dram.ahead // config.max_burst), config.max_outstanding)  # on their way at a time
        ahead = bursts * config.max_burst
        fed = min(1.0, ahead / (self.latency + config.max_burst + _GRANT))
        noticed = max(0.0, dram.recovery - max(0, ahead - self.latency)) / dram.refresh
        return min(config.stripe_bytes * min(fed, 1 - noticed), dram.rate * dram.busy)


IDEAL = DdrTiming()
