"""Where a signal comes from, as a path that means the same on every machine."""

import functools
from pathlib import Path

import amaranth

from moesaic import hw
from moesaic.hw.rtlil.design import Module

__all__ = ["relative", "relative_sources", "remove_sources"]

# The deeper one first: an environment may lie in a checkout, and the package in an environment.
_ROOTS = sorted(
    (Path(package.__path__[0]).parent for package in (hw, amaranth)), key=lambda root: len(root.parts), reverse=True
)


@functools.cache
def relative(location: str) -> str:
    """``hw/engine/feeder.py:120`` for files of the package, ``amaranth/lib/fifo.py:90`` for those of Amaranth; the bare
    name of any other file.
    """
    path, _, line = location.rpartition(":")
    for root in _ROOTS:
        if Path(path).is_relative_to(root):
            return f"{Path(path).relative_to(root).as_posix()}:{line}"
    return f"{Path(path).name}:{line}"


def relative_sources(module: Module) -> None:
    """Keep locations of the module, its signals, memories, registers and processes; not those of each operator."""
    for attributes in [module.attributes, *(item.attributes for item in module.items)]:
        if "\\src" in attributes:
            location = attributes["\\src"].strip('"')
            attributes["\\src"] = f'"{relative(location)}"'
    for cell in module.of_kind("cell"):
        if cell.type.startswith("$") and cell.type not in ("$dff", "$adff", "$check", "$print"):
            cell.attributes.pop("\\src", None)


def remove_sources(module: Module) -> None:
    """Forget all locations."""
    for attributes in [module.attributes, *(item.attributes for item in module.items)]:
        attributes.pop("\\src", None)
