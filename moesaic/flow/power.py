"""Watts of a device while something runs on it: a GPU's by NVML, a processor's by its energy counters."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

try:
    import pynvml
except ImportError:  # an extra: without it there are no watts of a GPU
    pynvml = None

__all__ = ["Watts", "gpu_reader", "package_reader", "watching"]

_INTERVAL_S = 0.02
_SETTLING = 1 / 3  # of the readings, the first of which are of the time before
_RAPL = Path("/sys/class/powercap")

Reader = Callable[[], float | None]


@dataclass
class Watts:
    """Readings of a device.

    Members
    -------
    readings : list of float
    """

    readings: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        """Mean of what is left when the first third is dropped; None without readings."""
        kept = self.readings[int(len(self.readings) * _SETTLING) :]
        return sum(kept) / len(kept) if kept else None


def gpu_reader(number: int) -> tuple[Reader | None, str]:
    """What reads a GPU's watts, or why nothing does."""
    if pynvml is None:
        return None, "watts: not measured (pip install nvidia-ml-py)"
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(number)
        pynvml.nvmlDeviceGetPowerUsage(handle)
    except pynvml.NVMLError as error:
        return None, f"watts: not measured (NVML: {error})"
    return lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000, "watts: by NVML, of the whole board"


def package_reader(root: Path = _RAPL) -> tuple[Reader | None, str]:
    """What reads a processor's watts from the energy that its packages count, or why nothing does."""
    counters = [path / "energy_uj" for path in sorted(root.glob("intel-rapl:?"))]

    def joules() -> float:
        return 1e-6 * sum(int(counter.read_text(encoding="utf-8")) for counter in counters)

    try:
        last = (time.perf_counter(), joules())
    except (OSError, ValueError):
        return None, f"watts: not measured ({counters[0]} must be readable: as root, or by its permissions)"
    if not counters:
        return None, "watts: not measured (this machine counts no energy under /sys/class/powercap)"

    def read() -> float | None:
        nonlocal last
        (then, before), last = last, (time.perf_counter(), joules())
        used = last[1] - before
        return used / (last[0] - then) if used >= 0 and last[0] > then else None  # a counter began again

    return read, "watts: by the energy counters of the processor's packages"


@contextmanager
def watching(reader: Reader | None) -> Iterator[Watts]:
    """Read while the block runs."""
    found, done = Watts(), threading.Event()

    def watch() -> None:
        while reader is not None and not done.wait(_INTERVAL_S):
            value = reader()
            if value is not None:
                found.readings.append(value)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
