"""Normalisation of pixels as some code or file states it, brought to pixels in [0, 1]."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Normalisation", "of_bytes", "of_unit", "recognised"]

BYTE = 255.0
_COARSE = 16.0  # a deviation from which on pixels of 0..255 are meant; of pixels in [0, 1] it is at most 0.5


@dataclass(frozen=True)
class Normalisation:
    """`(pixel - mean) / std` for pixels in [0, 1].

    Parameters
    ----------
    mean, std : a float for each channel
    white : float
        Value of a white pixel where the normalisation was stated: 1, or 255.
    warning : str
        What is doubtful about it; empty if nothing is.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    white: float = 1.0
    warning: str = ""


def _numbers(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) + 0.0 for value in values)  # no -0


def _words(mean: Sequence[float], std: Sequence[float]) -> str:
    def one(values: Sequence[float]) -> str:
        return ", ".join(dict.fromkeys(f"{value + 0.0:.4g}" for value in values))

    return f"mean {one(mean)} and deviation {one(std)}"


def _fits(mean: Sequence[float], std: Sequence[float], white: float) -> bool:
    """Whether mean and deviation can be of pixels in 0..`white`."""
    return all(0 <= m <= white for m in mean) and all(0 < s <= 256 / 255 * white for s in std)


def of_unit(mean: Sequence[float], std: Sequence[float]) -> Normalisation:
    """A normalisation of pixels that are known to lie in [0, 1]; a warning if it cannot be of such."""
    warning = "" if _fits(mean, std, 1.0) else f"{_words(mean, std)} are outside the range of pixels in [0, 1]"
    return Normalisation(_numbers(mean), _numbers(std), warning=warning)


def of_bytes(mean: Sequence[float], std: Sequence[float]) -> Normalisation:
    """A normalisation of pixels that are known to lie in 0..255."""
    unit = of_unit([m / BYTE for m in mean], [s / BYTE for s in std])
    return Normalisation(unit.mean, unit.std, BYTE, unit.warning)


def recognised(mean: Sequence[float], std: Sequence[float]) -> Normalisation:
    """A normalisation of pixels whose range its own numbers must tell: 0..255 if they can be of nothing else.

    Whatever is not plainly of pixels in [0, 1] carries a warning.
    """
    unit = of_unit(mean, std)
    if not unit.warning or not _fits(mean, std, BYTE) or not (max(mean) > 1 or max(std) >= _COARSE):
        return unit
    found = of_bytes(mean, std)
    warning = f"{_words(mean, std)} are taken as of pixels in 0..255: {_words(found.mean, found.std)} in [0, 1]"
    return Normalisation(found.mean, found.std, BYTE, warning)
