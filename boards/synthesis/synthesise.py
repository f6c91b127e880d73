"""Synthesis of a whole accelerator: every distinct module once, multiplied by its places."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from moesaic.boards.resources import Resources
from moesaic.boards.synthesis.analysis import Analysis, analyse, children_first
from moesaic.boards.synthesis.blocks import Blocks, blocks_of
from moesaic.boards.synthesis.cells import UnknownCell, resources_of
from moesaic.boards.synthesis.delays import DELAYS
from moesaic.boards.synthesis.distances import Distances, NetDelays
from moesaic.boards.synthesis.grid import Grid
from moesaic.boards.synthesis.mapping import Mapped, map_modules
from moesaic.boards.synthesis.modules import Module, instance_paths, places, split_modules
from moesaic.boards.synthesis.netlist import Netlist
from moesaic.boards.synthesis.placement import place
from moesaic.boards.synthesis.wires import wires_of
from moesaic.hw.export import TOP, accelerator_verilog
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.units import UNITS, unit_of

__all__ = ["Synthesis", "synthesise", "synthesise_verilog"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Synthesis:
    """What an accelerator takes, as Yosys maps it: an estimate of what Vivado will use.

    Parameters
    ----------
    family : str
    uram : bool
        Large memories were free to go to UltraRAM.
    modules : mapping of str to Module
    places : mapping of str to int
        Instances of each distinct module.
    mapped : mapping of str to Mapped
    failures : mapping of str to str
        Modules that could not be mapped, and why: their resources are in no sum.
    """

    family: str
    uram: bool
    modules: Mapping[str, Module]
    places: Mapping[str, int]
    mapped: Mapping[str, Mapped]
    failures: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Every module was mapped."""
        return not self.failures

    def resources(self, module: str) -> Resources:
        """Of one instance of a module, its children aside; nothing if it could not be mapped."""
        return resources_of(self.mapped[module].counts) if module in self.mapped else Resources()

    @property
    def total(self) -> Resources:
        """The whole design."""
        result = Resources()
        for module, count in self.places.items():
            if count:
                result = result + self.resources(module) * count
        return result

    @property
    def units(self) -> dict[str, Resources]:
        """By unit of the architecture; their sum is `total`."""
        result = dict.fromkeys((unit.title for unit in UNITS), Resources())
        one = {module: self.resources(module) for module, count in self.places.items() if count}
        for path, module in instance_paths(self.modules, TOP).items():
            unit = unit_of(path).title
            result[unit] = result[unit] + one[module]
        return {unit: amount for unit, amount in result.items() if amount != Resources()}

    @property
    def lut_memory(self) -> int:
        """LUTs of the total that are memory or shift registers."""
        return sum(
            self.mapped[module].counts.lut_memory * count
            for module, count in self.places.items()
            if module in self.mapped
        )

    @property
    def carry8(self) -> int:
        """Carry chains of eight bits."""
        return sum(
            self.mapped[module].counts.carry8 * count for module, count in self.places.items() if module in self.mapped
        )

    def timing(self, count: int = 10, *, pessimistic: bool = False, grid: Grid | None = None) -> Analysis:
        """The longest paths (`analysis.analyse`), with short nets or with those of a well filled device.

        Parameters
        ----------
        count : int
            How many.
        pessimistic : bool
            The corner.
        grid : Grid, optional
            Nets as long as a coarse placement on it makes them; then of neither corner.

        Raises
        ------
        ValueError
            If a module could not be mapped, logic feeds itself, or the design does not fit the grid.
        """
        if self.failures:
            raise ValueError(f"every module must be mapped for paths, but {next(iter(self.failures))!r} is not")
        raw: dict[str, dict[str, Any]] = {
            module: self.mapped[module].netlist for module, places in self.places.items() if places
        }
        delays = DELAYS[self.family]
        if pessimistic:
            delays = delays.pessimistic
        placed = partial(self._placed, grid=grid) if grid is not None else None
        return analyse(self.modules, raw, top=TOP, delays=delays, count=count, place=placed)

    def blocks(self, needs: Mapping[str, Resources]) -> Blocks:
        """Its instances and how they are joined, with what each module takes."""
        order = children_first(self.modules, TOP)
        netlists = {name: Netlist(self.modules[name], self.mapped[name].netlist, self.modules) for name in order}
        return blocks_of(self.modules, netlists, needs, TOP)

    def _placed(self, netlists: Mapping[str, Netlist], grid: Grid) -> NetDelays:
        """Nets by distance: the modules placed on a grid."""
        needs = {module: self.resources(module) for module in netlists}
        blocks = blocks_of(self.modules, netlists, needs, TOP)
        return NetDelays(blocks, Distances(blocks, place(blocks, grid), grid), wires_of(self.family, grid))


def synthesise_verilog(
    verilog: str,
    *,
    family: str,
    uram: bool,
    cache: Path | None = None,
    progress: Progress | None = None,
    only_known: bool = False,
) -> Synthesis:
    """Synthesise exported Verilog whose top is ``accelerator``.

    Parameters
    ----------
    verilog : str
    family : str
        ``zynqmp`` or ``zynq7000``.
    uram : bool
        The device has UltraRAM.
    cache : Path, optional
        Root of the `Store`; `cache_root()` if not given.
    progress : callable, optional
        Called with modules done and modules in all.
    only_known : bool
        Run nothing: modules without an earlier result are failures (`mapping.NOT_YET`).

    Raises
    ------
    SynthesisMissing
        If Yosys is not installed.
    """
    modules = split_modules(verilog)
    counts = places(modules, TOP)
    mapped, failures = map_modules(
        [name for name, count in counts.items() if count],
        modules,
        family=family,
        uram=uram,
        cache=cache,
        progress=progress,
        only_known=only_known,
    )
    for name in list(mapped):
        try:
            resources_of(mapped[name].counts)
        except UnknownCell as error:
            failures[name] = str(error)
            del mapped[name]
    return Synthesis(family, uram, modules, counts, mapped, failures)


def synthesise(
    config: AcceleratorConfig,
    *,
    family: str,
    uram: bool,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Synthesis:
    """Export and synthesise an accelerator; parameters as of `synthesise_verilog`.

    Raises
    ------
    SynthesisMissing, ExportError
    """
    verilog = accelerator_verilog(config, assertions=False, cache=cache)
    return synthesise_verilog(verilog, family=family, uram=uram, cache=cache, progress=progress)
