"""How a driver reaches an accelerator: the one interface of board, RTL simulation and functional simulator."""

from typing import Protocol

__all__ = ["Transport"]


class Transport(Protocol):
    """Registers, memory, interrupt and clock; coroutines, so that a simulated clock can run meanwhile.

    Members
    -------
    patience : float, seconds
        How long to wait for the interrupt before STATUS is looked at again.
    """

    patience: float

    async def read(self, offset: int) -> int:
        """A 32-bit register; `BusError` if it is refused."""

    async def write(self, offset: int, value: int) -> None:
        """Write a 32-bit register; `BusError` if it is refused."""

    async def allocate(self, size: int, wanted: int) -> int:
        """Reserve `size` bytes of DDR, whole pages, that the accelerator reaches; the address of the first.

        `wanted` is where the program was compiled to lie; another place is as good.
        """

    async def write_memory(self, address: int, data: bytes) -> None:
        """Write into the reserved memory, so that the accelerator sees it."""

    async def read_memory(self, address: int, size: int) -> bytes:
        """Read from the reserved memory what the accelerator wrote."""

    async def wait_interrupt(self, seconds: float) -> bool:
        """Return True when the interrupt is raised, False after `seconds` or earlier if nothing can be known."""

    def now(self) -> float:
        """Seconds, of the clock by which runs are limited and timed."""

    async def close(self) -> None:
        """Give back the memory."""
