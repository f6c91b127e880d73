"""Whether an accelerator can fit a board, from its sizes alone: a lower bound, quick enough to be asked before anything
is made.
"""

from moesaic.boards.board import Board
from moesaic.boards.memory_rules import primitives
from moesaic.boards.resources import Resources
from moesaic.errors import InputError
from moesaic.hw.spec.config import PRESETS, AcceleratorConfig

__all__ = ["FitError", "check_fit", "largest_preset", "lower_bound"]


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
    ultra = config.ultra_ram and budget.uram > 0
    banks = config.ports * config.beats_per_word
    word = 8 * config.lanes
    prefetch = banks * primitives(config.prefetch_words, config.port_bits, ultra=ultra, byte_writes=False)
    activation = primitives(config.activation_words, word, ultra=ultra, byte_writes=True)
    block = primitives(config.kv_words, word, ultra=False, byte_writes=True)
    block += 2 * primitives(
        config.residual_words, 2 * word, ultra=False, byte_writes=True
    )  # two read ports: two copies
    block += 0 if ultra else prefetch + activation
    return Resources(dsp=config.macs_per_cycle // 2, bram36=block, uram=int(prefetch + activation) if ultra else 0)


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
    best = max(fitting, key=lambda c: (c.macs_per_cycle, c.stripe_bytes, c.name == board.name), default=None)
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
