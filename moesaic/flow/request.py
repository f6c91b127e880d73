"""What a user asks for, checked before any work starts."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moesaic.flow.boards import accelerator_of
from moesaic.golden import config as models
from moesaic.golden.config import M3ViTConfig
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["ALL_TASKS", "DEFAULT_BOARDS", "InputError", "Request", "make_request"]

ALL_TASKS = "all"
DEFAULT_BOARDS = {
    "m3vit-micro": "micro8",
    "m3vit-small": "zcu102-small",
    "m3vit-small-r1": "zcu102-small",
    "deit-small": "zcu102-small",
}
_OTHERWISE = "zcu102"


class InputError(ValueError):
    """What the user typed cannot be done; the message says what can."""


def _one_of(what: str, value: str, valid: list[str]) -> None:
    if value not in valid:
        raise InputError(f"{what} must be one of {', '.join(valid)}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A model, what it shall do, and on what.

    Parameters
    ----------
    model : M3ViTConfig
    board : str
        Name of the board, or of a bare accelerator preset.
    board_origin : str
        What names it in a later request: its name, or the absolute path of its file.
    config : AcceleratorConfig
    tasks : tuple of str
        Tasks to run, in this order.
    seed : int
        Of seeded weights, of the sample scene and of the DDR model's stalls.
    blocks : int
        Blocks of the network that are run.
    speculate : int or None
        Experts fetched before the router has decided; None lets the compiler choose.
    weights : Path or None
        Parameters to use in place of the shipped ones.
    """

    model: M3ViTConfig
    board: str
    board_origin: str
    config: AcceleratorConfig
    tasks: tuple[str, ...]
    seed: int = 0
    blocks: int
    speculate: int | None = None
    weights: Path | None = None

    @property
    def whole(self) -> bool:
        """Whether all blocks are run."""
        return self.blocks == self.model.depth

    @property
    def name(self) -> str:
        """Model, tasks and board: what a result's folder is called."""
        tasks = ALL_TASKS if len(self.tasks) > 1 else self.tasks[0]
        return f"{self.model.name}-{tasks}-{self.board}"

    def replace(self, **changes: Any) -> "Request":
        """A variant with some fields changed."""
        return dataclasses.replace(self, **changes)


def make_request(
    *,
    model: str,
    task: str | None = None,
    board: str | None = None,
    seed: int = 0,
    blocks: int | None = None,
    speculate: int | None = None,
    weights: Path | None = None,
) -> Request:
    """A request from names.

    Parameters
    ----------
    model : str
        Name of a model preset.
    task : str or None
        A task of the model, or `all`; None is the first.
    board : str or None
        Name of a board or of an accelerator preset, or a TOML file that describes a board; None is the model's usual one.
    seed, blocks, speculate, weights
        As in `Request`; None runs all blocks.

    Raises
    ------
    InputError, BoardError
        If a name is unknown (the message lists the known ones), a number is out of range, or a board's file is wrong.
    """
    _one_of("model", model, list(models.PRESETS))
    network = models.PRESETS[model]
    board, origin, config = accelerator_of(DEFAULT_BOARDS.get(model, _OTHERWISE) if board is None else board)
    task = network.tasks[0] if task is None else task
    _one_of("task", task, [*network.tasks, ALL_TASKS])
    if not 0 <= seed < 1 << 31:
        raise InputError(f"seed must be from 0 to 2147483647, not {seed!r}")
    blocks = network.depth if blocks is None else blocks
    if not 1 <= blocks <= network.depth:
        raise InputError(f"blocks must be from 1 to {network.depth}, not {blocks!r}")
    if speculate is not None and not 0 <= speculate <= network.experts:
        raise InputError(f"speculate must be from 0 to {network.experts} experts, not {speculate!r}")
    if weights is not None and not weights.is_file():
        raise InputError(f"weights must be a .safetensors file, not {str(weights)!r} (there is no such file)")
    return Request(
        model=network,
        board=board,
        board_origin=origin,
        config=config,
        seed=seed,
        blocks=blocks,
        speculate=speculate,
        tasks=network.tasks if task == ALL_TASKS else (task,),
        weights=weights,
    )
