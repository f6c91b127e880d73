"""Whether an accelerator can fit a board, from its sizes alone: a lower bound, quick enough to be asked before anything
is made.
"""

from moesaic.boards.board import Board
from moesaic.boards.memory_rules import placed
from moesaic.boards.resources import Resources
from moesaic.errors import InputError
from moesaic.hw.spec.config import ULTRA_RAM, AcceleratorConfig
from moesaic.hw.spec.presets import PRESETS

__all__ = ["FitError", "check_fit", "largest_preset", "lower_bound", "ultra_ram_for"]


class FitError(InputError):
    """An accelerator is too large for a board; the message says of what it needs too much, and what would fit."""


def lower_bound(config: AcceleratorConfig, budget: Resources) -> Resources:
    """What an accelerator needs at least: two products to a DSP, and the large memories in whole primitives.

    Parameters
    ----------
    config : AcceleratorConfig
    budget : Resources
        A board's: where it has no UltraRAM, block RAM takes its place.

    Returns
    -------
    Resources
        DSP, block RAM and UltraRAM; no estimate of logic (0).
    """
    large = placed(config, uram=budget.uram > 0)
    return sum(large.values(), Resources(dsp=config.macs_per_cycle // 2))


def ultra_ram_for(config: AcceleratorConfig, budget: Resources) -> tuple[str, ...]:
    """Which memories to make of UltraRAM on a board: the two that profit whatever the model, and if that does not fit,
    those that save most block RAM for each UltraRAM, as many as there are UltraRAMs for.
    """
    usual = config.replace(ultra_ram=("prefetch", "activation"))
    if not budget.uram or lower_bound(usual, budget).fits(budget):
        return usual.ultra_ram
    block, ultra = (placed(config.replace(ultra_ram=names), uram=True) for names in ((), ULTRA_RAM))
    chosen, left = [], budget.uram
    for name in sorted(block, key=lambda name: (-block[name].bram36 / ultra[name].uram, name)):
        if ultra[name].uram <= left:
            chosen.append(name)
            left -= ultra[name].uram
    return tuple(name for name in ULTRA_RAM if name in chosen)


def largest_preset(board: Board) -> str | None:
    """Name of the preset with the most multipliers that passes here and has the ports of the board; None if
    none does.
    """
    fitting = [
        config
        for config in PRESETS.values()
        if lower_bound(config, board.budget).fits(board.budget)
        and config.ports <= len(board.ports.weights)
        and config.port_bits in board.system.port_bits
        and config.max_burst <= board.system.max_burst
        and (board.budget.uram or not config.ultra_ram)
    ]
    # Of equals the board's own: the sizes of its memories were chosen for it.
    best = max(
        fitting, key=lambda c: (c.macs_per_cycle, c.stripe_bytes, c.name == board.accelerator.name), default=None
    )
    return best.name if best is not None else None


def check_fit(board: Board, config: AcceleratorConfig | None = None) -> None:
    """Refuse an accelerator that exceeds what the board has.

    Parameters
    ----------
    board : Board
    config : AcceleratorConfig, optional
        In place of the board's own.

    Raises
    ------
    FitError
        Names each resource, by how much it is short, and the largest preset that fits.
    """
    config = board.accelerator if config is None else config
    needed = lower_bound(config, board.budget)
    if not needed.fits(board.budget):
        best = largest_preset(board)
        advice = f"the largest preset that fits is {best}" if best else "no preset fits"
        raise FitError(
            f"accelerator {config.name} must fit {board.name}, but needs at least "
            f"{needed.describe_excess(board.budget)}; {advice}"
        )
