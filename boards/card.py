"""What a PCI Express card's board files call the things that its design needs."""

import re
from dataclasses import dataclass, fields

from moesaic.boards.section import require

__all__ = ["Card"]


@dataclass(frozen=True, kw_only=True)
class Card:
    """Board interfaces and pins of a card.

    Parameters
    ----------
    clock : str
        Board interface of a differential clock of 100 MHz.
    lanes, reference, reset : str
        Board interfaces of PCI Express: 16 lanes, their reference clock, PERST#.
    cattrip_pin : str
        Package pin that tells the card's controller that the HBM is too hot; a design must drive it.
    """

    clock: str
    lanes: str
    reference: str
    reset: str
    cattrip_pin: str

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            require(bool(re.fullmatch(r"[A-Za-z]\w*", value)), f"card.{field.name}", "a name", value)
