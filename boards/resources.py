"""FPGA resources: amounts that are added, multiplied by instances, and held against a budget."""

import dataclasses
from dataclasses import dataclass

__all__ = ["Resources"]

_TITLES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram36": "BRAM36", "uram": "URAM"}


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Amounts of each kind; ``+`` adds, ``*`` repeats.

    Parameters
    ----------
    lut : int, LUT6
    ff : int, flip-flops
    dsp : int, DSP48 slices
    bram36 : float, block RAMs of 36 Kbit (one of 18 Kbit is a half)
    uram : int, UltraRAMs of 288 Kbit

    Raises
    ------
    ValueError
        If an amount is negative.
    """

    lut: int = 0
    ff: int = 0
    dsp: int = 0
    bram36: float = 0
    uram: int = 0

    def __post_init__(self) -> None:
        for kind, amount in self.to_dict().items():
            if amount < 0:
                raise ValueError(f"{kind} must be at least 0, not {amount!r}")

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(
            lut=self.lut + other.lut,
            ff=self.ff + other.ff,
            dsp=self.dsp + other.dsp,
            bram36=self.bram36 + other.bram36,
            uram=self.uram + other.uram,
        )

    def __mul__(self, times: int) -> "Resources":
        return Resources(
            lut=self.lut * times,
            ff=self.ff * times,
            dsp=self.dsp * times,
            bram36=self.bram36 * times,
            uram=self.uram * times,
        )

    __rmul__ = __mul__

    def to_dict(self) -> dict[str, int | float]:
        """Amount of each kind by name."""
        return dataclasses.asdict(self)

    def excess(self, budget: "Resources") -> dict[str, int | float]:
        """By how much each kind exceeds the budget; kinds that do not are absent."""
        allowed = budget.to_dict()
        return {kind: amount - allowed[kind] for kind, amount in self.to_dict().items() if amount > allowed[kind]}

    def fits(self, budget: "Resources") -> bool:
        """Whether no kind exceeds the budget."""
        return not self.excess(budget)

    def describe_excess(self, budget: "Resources") -> str:
        """What does not fit, as a clause: ``DSP 2,240 of 1,728 (512 too many)``; empty if all fits."""
        used, allowed = self.to_dict(), budget.to_dict()
        return ", ".join(
            f"{_TITLES[kind]} {used[kind]:,} of {allowed[kind]:,} ({more:,} too many)"
            for kind, more in self.excess(budget).items()
        )
