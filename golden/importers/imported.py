"""What an import takes and gives: options for what no file says, the model, and a record of what was assumed."""

from dataclasses import dataclass, field
from typing import Any

import torch

from moesaic.golden.config import GATE_KINDS, M3ViTConfig
from moesaic.golden.importers.problem import ImportProblem, folded

__all__ = ["PIXELS", "ImportOptions", "ImportReport", "Imported", "Notes"]

PIXELS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What the shapes of tensors cannot tell; None takes the published value and says so.

    Parameters
    ----------
    top_k : int or None
        Experts per token.
    heads : int or None
        Attention heads of a block.
    image_size : (int, int) or None
        Height and width, pixels.
    tasks : tuple of str or None
        Names of the tasks, in the order of their gates.
    gate : "noisy_vmoe", "noisy" or None
        Softmax before or after the choice of experts, as in `M3ViTConfig.gate_kind`.
    pixels : "imagenet", "half", "unit" or None
        Normalisation of pixels: ImageNet's mean and deviation, 0.5 and 0.5, or none (values in [0, 1]).
    fill_missing : bool
        Draw missing experts at random, from `seed`.
    seed : int

    Raises
    ------
    ImportProblem
        If a value is out of range; the message names the option.
    """

    top_k: int | None = None
    heads: int | None = None
    image_size: tuple[int, int] | None = None
    tasks: tuple[str, ...] | None = None
    gate: str | None = None
    pixels: str | None = None
    fill_missing: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        def require(ok: bool, option: str, what: str, value: Any) -> None:
            if not ok:
                raise ImportProblem(f"{option} must be {what}, not {value!r}")

        for option, value in (("top-k", self.top_k), ("heads", self.heads)):
            require(value is None or value >= 1, option, "a positive number", value)
        size = self.image_size
        require(size is None or (len(size) == 2 and min(size) >= 1), "image-size", "two positive numbers", size)
        tasks = self.tasks
        require(
            tasks is None or (0 < len(tasks) == len(set(tasks)) and all(tasks)),
            "tasks", "distinct names with commas between", tasks,
        )
        require(self.gate is None or self.gate in GATE_KINDS, "gate", "one of " + ", ".join(GATE_KINDS), self.gate)
        require(self.pixels is None or self.pixels in PIXELS, "pixels", "one of " + ", ".join(PIXELS), self.pixels)

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the options that say something, as the command line writes them."""
        values = {
            "--top-k": self.top_k, "--heads": self.heads, "--image-size": self.image_size, "--tasks": self.tasks,
            "--gate": self.gate, "--pixels": self.pixels, "--fill-missing": self.fill_missing or None,
        }
        return tuple(name for name, value in values.items() if value is not None)


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
    """

    source: str
    format: str
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    checked: str = ""

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
    config : M3ViTConfig
    state : dict of str to Tensor
        Parameters of `M3ViT(config)`, float32.
    heads : dict of str to Tensor
        Parameters of the heads that came along, under the names they had.
    report : ImportReport
    """

    config: M3ViTConfig
    state: dict[str, torch.Tensor]
    heads: dict[str, torch.Tensor]
    report: ImportReport
