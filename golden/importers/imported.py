"""What an import gives: the model, and a record of what was assumed about it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from moesaic.golden.importers.problem import folded
from moesaic.golden.network import Network

__all__ = ["ImportReport", "Imported", "Notes"]


@dataclass
class Notes:
    """Collects what an importer assumes and does.

    Members
    -------
    assumed : list of str
        What no file says, with the option that changes it.
    notes : list of str
        Conversions, and tensors that inference does not need.
    filled : list of str
        Tensors drawn at random.
    checked : str
        Comparison with an expected output that came with the weights; empty if there was none.
    """

    assumed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    filled: list[str] = field(default_factory=list)
    checked: str = ""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """Where a model comes from and what was assumed about it.

    Parameters
    ----------
    source : str
        Path, or `module:function`.
    format : str
        What it was recognised as.
    assumed, notes, filled : tuple of str
        As in `Notes`.
    checked : str
        As in `Notes`.
    names : mapping of str to str
        The user's own names of the parameters that each of ours was made from.
    """

    source: str
    format: str
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    checked: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(source: str, kind: str, notes: Notes) -> "ImportReport":
        """A report from what an importer has collected."""
        return ImportReport(
            source=source,
            format=kind,
            assumed=tuple(notes.assumed),
            notes=tuple(notes.notes),
            filled=tuple(notes.filled),
            checked=notes.checked,
        )

    @property
    def kind(self) -> str:
        """Where the weights come from, in a word, for reports: "imported", or "partly seeded" if some were drawn."""
        return "partly seeded" if self.filled else "imported"

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it, with `kind`."""
        return {**asdict(self), "kind": self.kind}

    def lines(self) -> list[str]:
        """All of it as text, a fact a line."""
        lines = [f"{self.source}: {self.format}", *(f"assumed: {text}" for text in self.assumed), *self.notes]
        if self.filled:
            lines.append(f"drawn at random: {', '.join(folded(self.filled))}")
        return [*lines, self.checked] if self.checked else lines


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A model from files.

    Parameters
    ----------
    network : Network
    state : dict of str to Tensor
        Parameters of `M3ViT(network)`, float32.
    heads : dict of str to Tensor
        Parameters of the heads that came along, under the names they had.
    report : ImportReport
    modules : mapping of task to Module
        Heads that came as modules: from the last block's tokens [tokens, dim] to what the model returns.
    """

    network: Network
    state: dict[str, torch.Tensor]
    heads: dict[str, torch.Tensor]
    report: ImportReport
    modules: Mapping[str, nn.Module] = field(default_factory=dict)
