"""What a built-in model was trained with beside its recipe: options that change the network, kept in its weights' file.

Without torch: a request for a built-in model looks here before anything is loaded.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from moesaic.errors import InputError
from moesaic.golden.config import M3ViTConfig

__all__ = ["KEY", "MOST_REGISTERS", "TrainedWith", "trained_with"]

KEY = "moesaic.trained_with"  # of a .safetensors file's metadata
MOST_REGISTERS = 64


@dataclass(frozen=True, kw_only=True)
class TrainedWith:
    """Options of training that change the network.

    Parameters
    ----------
    clipped_softmax : float or None
        Gamma of clip((1 - gamma) * softmax + gamma, 0, 1), above -1 and below 0.
    head_gates : bool
        Each head's context is multiplied by the sigmoid of a linear function of the token. Both are of Bondarenko,
        Nagel, Blankevoort, "Quantizable Transformers", NeurIPS 2023.
    registers : int or None
        Further learnt tokens behind the class token: Darcet, Oquab, Mairal, Bojanowski, "Vision Transformers Need
        Registers", ICLR 2024.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    clipped_softmax: float | None = None
    head_gates: bool = False
    registers: int | None = None

    def __post_init__(self) -> None:
        gamma, registers = self.clipped_softmax, self.registers
        if gamma is not None and not (_is_number(gamma) and -1 < gamma < 0):
            raise InputError(f"clipped-softmax must be a gamma above -1 and below 0, such as -0.03, not {gamma!r}")
        if not isinstance(self.head_gates, bool):
            raise InputError(f"gated-attention must be true or false, not {self.head_gates!r}")
        if registers is not None and not (type(registers) is int and 1 <= registers <= MOST_REGISTERS):
            raise InputError(f"registers must be from 1 to {MOST_REGISTERS} tokens, not {registers!r}")

    @property
    def suffix(self) -> str:
        """What it adds to the name of a model; empty for nothing."""
        clipped = "" if self.clipped_softmax is None else "-clipped"
        registers = "" if self.registers is None else f"-registers-{self.registers}"
        return clipped + "-gated" * self.head_gates + registers

    def network(self, config: M3ViTConfig) -> M3ViTConfig:
        """The recipe of the network, with these options; the name stays."""
        return dataclasses.replace(
            config,
            clipped_softmax=self.clipped_softmax or 0.0,
            head_gates=self.head_gates,
            extra_tokens=config.extra_tokens + (self.registers or 0),
        )

    def metadata(self, model: str) -> dict[str, str]:
        """For the file of that model's weights; nothing where no option was used."""
        return {KEY: json.dumps({"model": model, **dataclasses.asdict(self)})} if self.suffix else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _metadata(path: Path) -> str | None:
    try:
        with safe_open(path, "np") as file:
            return (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError):  # whoever reads the tensors says why they cannot be
        return None


def trained_with(path: str | Path, model: str | None = None) -> TrainedWith:
    """What the file of a built-in model's weights says; nothing if it says nothing, or cannot be read.

    Parameters
    ----------
    path : path
        A .safetensors file.
    model : str, optional
        Whose weights they must be, where they say anything.

    Raises
    ------
    InputError
        If they are another model's, or what the file says cannot be.
    """
    text = _metadata(Path(path))
    if text is None:
        return TrainedWith()
    try:
        fields = json.loads(text)
        owner = fields.pop("model")
        found = TrainedWith(**fields)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise InputError(
            f"weights must say under {KEY!r} how they were trained, as `moesaic train` writes it, not {text[:200]!r} "
            f"of {str(path)!r} ({error})"
        ) from error
    if model is not None and owner != model:
        raise InputError(f"weights must be those of {model}, not {str(path)!r}, which are of {owner!r}")
    return found
