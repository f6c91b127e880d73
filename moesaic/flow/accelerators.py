"""The accelerator of a request: the board's, another one for it, or the one that the model usually runs on."""

from dataclasses import dataclass
from pathlib import Path

from moesaic.boards.configuration import Configuration
from moesaic.errors import InputError
from moesaic.flow.auto import choose, holds
from moesaic.flow.boards import AUTO, accelerator_of, configured
from moesaic.flow.stages import Stages
from moesaic.golden import config as models
from moesaic.golden.config import network_of
from moesaic.golden.network import Network
from moesaic.golden.qmodel import WIDTHS
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.presets import PRESETS

__all__ = ["DEFAULT_BOARDS", "Accelerator", "Asked", "asked_for", "usual", "usual_board"]

DEFAULT_BOARDS = {
    "m3vit-micro": "micro8",
    "m3vit-small": "zcu102-small",
    "m3vit-small-r1": "zcu102-small",
    "deit-small": "zcu102-small",
}
_OTHERWISE = "zcu102"
_WIDE = "-wide"  # of the accelerator that is a usual one with wide operands

Asked = Path | Configuration | AcceleratorConfig  # in place of a board's own accelerator


@dataclass(frozen=True)
class Accelerator:
    """An accelerator.

    Parameters
    ----------
    name : str
        Of the board, or of the configuration.
    origin : str
        What names the board in a later request; empty without one.
    sizes : AcceleratorConfig
    """

    name: str
    origin: str
    sizes: AcceleratorConfig


def usual_board(model: Network) -> str:
    """The board of the built-in model that has as many tokens of as many channels; empty if there is none."""
    sizes = (model.tokens, model.dim)
    built_in = {name: network_of(recipe) for name, recipe in models.PRESETS.items()}
    alike = next((name for name, other in built_in.items() if (other.tokens, other.dim) == sizes), None)
    return "" if alike is None else DEFAULT_BOARDS.get(alike, _OTHERWISE)


def _usual_board(model: Network, stages: Stages, *, outside: bool) -> str:
    """The usual board; for a model from outside without one, a board that holds it."""
    board = usual_board(model)
    if board or not outside:
        return board or _OTHERWISE
    return _OTHERWISE if holds(model, _OTHERWISE) else choose(model, stages)


def _wide_enough(accelerator: Accelerator, widths: str, *, free: bool) -> Accelerator:
    """The accelerator, or where another may be taken its wide variant, if the operands need it."""
    name = accelerator.name
    if WIDTHS[widths] <= 8 or accelerator.sizes.wide_operands:
        return accelerator
    wide = f"{name}{_WIDE}"
    if not free or wide not in PRESETS:
        raise InputError(
            f"widths must be of 8 bits on {name}, which has no wide_operands, not {widths!r}: choose one of "
            f"{', '.join(preset for preset, found in PRESETS.items() if found.wide_operands)}, or a "
            f"configuration with wide_operands = true"
        )
    return Accelerator(*accelerator_of(wide))


def _given(accelerator: Asked) -> Configuration | AcceleratorConfig:
    return Configuration(accelerator, {}) if isinstance(accelerator, Path) else accelerator


def asked_for(board: str | None, accelerator: Asked | None, widths: str) -> Accelerator | None:
    """The accelerator that was asked for; None if the model decides.

    Raises
    ------
    InputError, BoardError, ConfigurationError, FitError
        If a name, a file or a field is wrong, or the accelerator has no operands of these widths.
    """
    if board == AUTO and accelerator is not None:
        raise InputError("board must be one that the configuration is for, not 'auto'")
    if accelerator is None:
        return None if board in (None, AUTO) else _wide_enough(Accelerator(*accelerator_of(board)), widths, free=False)
    given = _given(accelerator)
    if board is None and isinstance(given, Configuration) and given.file is None:
        return None
    origin = "" if board is None else accelerator_of(board)[1]
    sizes = given if isinstance(given, AcceleratorConfig) else configured(board, given)[1]
    return _wide_enough(Accelerator(sizes.name, origin, sizes), widths, free=False)


def usual(
    model: Network, board: str | None, accelerator: Asked | None, widths: str, stages: Stages, *, outside: bool
) -> Accelerator:
    """The accelerator that suits the model, with the fields that were asked for.

    Raises
    ------
    InputError, ConfigurationError, FitError
        As `asked_for`.
    """
    name = choose(model, stages) if board == AUTO else _usual_board(model, stages, outside=outside)
    found = _wide_enough(Accelerator(*accelerator_of(name)), widths, free=True)
    if not isinstance(accelerator, Configuration):
        return found
    sizes = configured(found.origin, accelerator)[1]
    return Accelerator(sizes.name, found.origin, sizes)
