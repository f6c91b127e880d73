# amaranth: UnusedElaboratable=no
"""Local signals of a design, which its proof's invariants and its planted bugs have to name."""

from collections import Counter

from amaranth.hdl import Elaboratable, Module, Signal

__all__ = ["Opened", "Planted", "opened", "signals"]


def signals(m: Module) -> dict[str, Signal]:
    """Signals that a module drives itself, by name; the second one of a name has ``$1`` behind it, and so on."""
    found: dict[str, Signal] = {}
    seen: Counter[str] = Counter()
    for signal in m._driving:
        count = seen[signal.name]
        found[f"{signal.name}${count}" if count else signal.name] = signal
        seen[signal.name] += 1
    return found


class Opened(Elaboratable):
    """A design whose module and local signals can be seen.

    Parameters
    ----------
    dut : Elaboratable
        Design; its ``elaborate`` must give a ``Module``.
    platform : object

    Attributes
    ----------
    m : Module
        What the design elaborates to: its submodules have names.
    signals : dict of str to Signal
        Signals that it drives itself, those of submodules left out.
    """

    def __init__(self, dut: Elaboratable, platform: object) -> None:
        self.m = dut.elaborate(platform)
        self.signals = signals(self.m)

    def __getitem__(self, name: str) -> Signal:
        return self.signals[name]

    def elaborate(self, platform: object) -> Module:
        return self.m


def opened(part: Elaboratable, platform: object) -> Opened:
    """A part of a design that can be seen, and elaborates to the same module once more within the design."""
    inside = Opened(part, platform)
    part.elaborate = inside.elaborate
    return inside


class Planted(Elaboratable):
    """Of a design with one mistake, in front of the design among its bases."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        self.plant(m, signals(m))
        return m

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        """The mistake; `inner` are the design's local signals."""
