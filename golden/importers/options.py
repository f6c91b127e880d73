"""What a user says about a model, because its files do not."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from moesaic.golden.importers.problem import ImportProblem
from moesaic.golden.layers.sizes import GATE_KINDS
from moesaic.names import check_tasks

__all__ = ["PIXELS", "ImportOptions"]

PIXELS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "fixed8": ((0.0, 0.0, 0.0), (256 / 255, 256 / 255, 256 / 255)),
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
    pixels : "imagenet", "half", "unit", "fixed8" or None
        Normalisation of pixels: ImageNet's mean and deviation, 0.5 and 0.5, none (byte / 255), or the byte as a
        fraction in fixed point (byte / 256).
    state_dict : str or None
        Which of a file's sets of weights: keys that lead to it, or what stands before its names.
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
    state_dict: str | None = None
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
        if self.tasks is not None:
            check_tasks(self.tasks, error=ImportProblem)
        require(self.gate is None or self.gate in GATE_KINDS, "gate", "one of " + ", ".join(GATE_KINDS), self.gate)
        require(self.pixels is None or self.pixels in PIXELS, "pixels", "one of " + ", ".join(PIXELS), self.pixels)

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the options that say something, as the command line writes them."""
        values = {
            "--top-k": self.top_k,
            "--heads": self.heads,
            "--image-size": self.image_size,
            "--tasks": self.tasks,
            "--gate": self.gate,
            "--pixels": self.pixels,
            "--state-dict": self.state_dict,
            "--fill-missing": self.fill_missing or None,
        }
        return tuple(name for name, value in values.items() if value is not None)

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "ImportOptions":
        """What `to_dict` gave, perhaps by way of JSON, which has lists for tuples."""
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
        return ImportOptions(**values)
