"""What mutants of the Python side are given: networks as integers, images, programs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moesaic.compiler.batch import Batch
from moesaic.compiler.image import ProgramImage
from moesaic.golden.numerics import IntArray
from moesaic.golden.qmodel import QuantModel
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.latency import Timing

__all__ = ["Case", "Changed", "Given"]


@dataclass(frozen=True)
class Case:
    """A network, and how it is compiled.

    Parameters
    ----------
    name : str
    qmodel : QuantModel
    config : AcceleratorConfig
    timing : Timing
        Of that configuration.
    batches : tuple of Batch
        A program each.
    images : uint8 [images, channels, height, width], or None
        None: compiled only.
    compiled : mapping
        Further arguments of `compile_all`.
    """

    name: str
    qmodel: QuantModel
    config: AcceleratorConfig
    timing: Timing
    batches: tuple[Batch, ...]
    images: IntArray | None = None
    compiled: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Changed:
    """A program with other bytes somewhere, or with other registers."""

    patches: tuple[tuple[int, bytes], ...]
    overrides: dict[str, int]


@dataclass(frozen=True)
class Given:
    """Everything that the checks need.

    Parameters
    ----------
    cases : tuple of Case
        The cheapest first.
    program : ProgramImage
        Of the first case.
    changed : tuple of Changed
        Changes of that program.
    legal : ProgramImage
        Random legal programs, a task each.
    tasks : tuple of str
        Their names.
    """

    cases: tuple[Case, ...]
    program: ProgramImage
    changed: tuple[Changed, ...]
    legal: ProgramImage
    tasks: tuple[str, ...]
