"""Modules to mapped netlists: each distinct module once, through Yosys, two processes at a time, cached."""

import gzip
import importlib.metadata
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from moesaic.boards.synthesis.cells import CellCounts
from moesaic.boards.synthesis.modules import Module, stub
from moesaic.children import Children
from moesaic.errors import FailedRun, InputError
from moesaic.scratch import scratch
from moesaic.store import Store, key_of

__all__ = [
    "FAMILIES",
    "NOT_YET",
    "Mapped",
    "SynthesisFailed",
    "SynthesisMissing",
    "find_yosys",
    "map_modules",
    "run_yosys",
]

FAMILIES = {"zynqmp": "xcup", "zynq7000": "xc7"}  # Yosys's names
# A slice whose operand has an adder in front: the parameter that says so has another name on UltraScale+. Without
# effect on all others.
PRE_ADDERS = [
    'setparam -set AMULTSEL "AD" t:DSP48E2 r:USE_DPORT=TRUE %i',
    "setparam -unset USE_DPORT t:DSP48E2",
]
# A register that is asked to be kept has copies of itself: none is merged with another, or becomes a shift register.
COPIES = ["select -set kept w:* a:keep %i", "setattr -set keep 1 @kept %ci1:+[Q] c:* %i"]
NOT_YET = "not counted yet"  # in place of what Yosys said, when only earlier results were asked for
BUNDLE_BYTES = 100_000  # small modules go together: starting Yosys and reading the cell library takes seconds
_NETLIST, _COUNTS = "netlist.json.gz", "counts.json"  # of a module, in the cache
_MEMORY = re.compile(r"^  reg (?:\[\d+:\d+\] )?(?:\\\S+ |\w+) ?\[\d+:\d+\];", re.MULTILINE)


class SynthesisMissing(InputError):
    """Yosys as a library is not installed; the message has the line that installs it."""


class SynthesisFailed(FailedRun):
    """Yosys ended before its work was done; the message is the end of what it printed."""


class Mapped:
    """A module mapped to cells of a device family.

    Parameters
    ----------
    folder : Path
        With what `_keep` wrote.
    children : set of str
        Modules that it may place: they are not counted in it.
    """

    def __init__(self, folder: Path, children: AbstractSet[str]) -> None:
        self.folder = folder
        counts: dict[str, int] = json.loads((folder / _COUNTS).read_bytes())
        self.counts = CellCounts({cell: number for cell, number in counts.items() if cell not in children})

    @property
    def netlist(self) -> dict[str, Any]:
        """Ports, cells and net names, as `worker` writes them."""
        found: dict[str, Any] = json.loads(gzip.decompress((self.folder / _NETLIST).read_bytes()))
        return found


def _keep(netlist: Mapping[str, Any], folder: Path) -> None:
    """A netlist, and how many cells of each type are in it."""
    counts = Counter(cell[0] for cell in netlist["cells"].values())
    (folder / _NETLIST).write_bytes(gzip.compress(json.dumps(netlist).encode(), 4))
    (folder / _COUNTS).write_text(json.dumps(counts, sort_keys=True), encoding="utf-8")


def _passes(family: str, *, uram: bool, multiplies: bool) -> list[str]:
    """Yosys commands."""
    # Before synth_xilinx: ABC may abort on what it leaves behind otherwise.
    first = ["hierarchy -check -top {top}", "proc", "opt_clean -purge", *COPIES]
    flow = f"synth_xilinx -family {FAMILIES[family]} -noiopad -noclkbuf{' -uram' if uram else ''} -top {{top}}"
    if family != "zynqmp" or not multiplies:
        return [*first, flow]
    # Yosys moves registers and adders into DSP slices for 7 series only; those of UltraScale+ have the same registers
    # and adder.
    packing = ["chtype -set DSP48E1 t:DSP48E2", "xilinx_dsp -family xc7", "chtype -set DSP48E2 t:DSP48E1", "opt_clean"]
    return [*first, f"{flow} -run begin:coarse", *packing, *PRE_ADDERS, f"{flow} -run coarse:"]


def find_yosys() -> str:
    """Version of Yosys as a library.

    Raises
    ------
    SynthesisMissing
        If it is not installed.
    """
    try:
        return importlib.metadata.version("pyosys")
    except importlib.metadata.PackageNotFoundError as error:
        raise SynthesisMissing("synthesis needs Yosys as a library; type: pip install pyosys") from error


def _flow(passes: Sequence[str]) -> str:
    return "\n".join([f"pyosys {find_yosys()}", *(line for line in passes if line not in PRE_ADDERS)])


def _source(names: Sequence[str], modules: Mapping[str, Module]) -> str:
    """The modules, black boxes for what they place, and a module that places them all."""
    children = {child for name in names for child in modules[name].children.values()} - set(names)
    lines = [
        "module moesaic_bundle;",
        *(f"  (* keep *) \\{name}  i{number} ();" for number, name in enumerate(names)),
        "endmodule",
        "",
    ]
    return "".join(
        [
            *(modules[name].text for name in names),
            *(stub(modules[child]) for child in sorted(children)),
            "\n".join(lines),
        ]
    )


def run_yosys(
    children: Children, names: Sequence[str], modules: Mapping[str, Module], passes: Sequence[str]
) -> list[dict[str, Any]]:
    """Netlists of modules, from one run.

    Raises
    ------
    SynthesisFailed
    """
    with scratch() as folder:
        source = folder / "source.v"
        source.write_text(_source(names, modules), encoding="utf-8")
        job = {"source": str(source), "out": str(folder), "modules": list(names), "passes": list(passes)}
        command = [sys.executable, "-m", "moesaic.boards.synthesis.worker"]
        done = children.run(command, feed=json.dumps(job), cwd=folder)
        if done.returncode:
            tail = "\n".join(done.stdout.strip().splitlines()[-12:])
            raise SynthesisFailed(f"Yosys ended with status {done.returncode} on {', '.join(names)}:\n{tail}")
        return [json.loads((folder / f"{index}.json").read_text(encoding="utf-8")) for index in range(len(names))]


def _bundles(names: Sequence[str], modules: Mapping[str, Module]) -> list[list[str]]:
    """Jobs, the longest first."""
    order = sorted(names, key=lambda name: -len(modules[name].text))
    result: list[list[str]] = []
    size = BUNDLE_BYTES
    for name in order:
        length = len(modules[name].text)
        if size + length > BUNDLE_BYTES:
            result.append([])
            size = 0
        result[-1].append(name)
        size += length
    return result


def map_modules(
    names: Sequence[str],
    modules: Mapping[str, Module],
    *,
    family: str,
    uram: bool,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    only_known: bool = False,
) -> tuple[dict[str, Mapped], dict[str, str]]:
    """Synthesise modules, each on its own with what it places as black boxes.

    Parameters
    ----------
    names : sequence of str
        The modules to map.
    modules : mapping of str to Module
        These, and all that they place.
    family : str
        ``zynqmp`` (UltraScale+) or ``zynq7000`` (7 series).
    uram : bool
        Whether the device has UltraRAM.
    cache : Path, optional
        Root of the `Store`; `cache_root()` if not given.
    progress : callable, optional
        Called with the number of modules that are done, and of all.
    only_known : bool
        Run nothing: modules without an earlier result are failures, `NOT_YET`.

    Returns
    -------
    mapped : dict of str to Mapped
    failures : dict of str to str
        What Yosys said about each module that it could not map.

    Raises
    ------
    SynthesisMissing
        If Yosys is not installed.
    ValueError
        If the family is unknown.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {family!r}")
    passes = _passes(family, uram=uram, multiplies=True)
    store = Store("synthesis", root=cache)
    keys = {}
    for name in names:
        # What a module lacks does not change its result: it is found whatever the rest of the flow is.
        text = modules[name].text
        flow = _flow(_passes(family, uram=uram and bool(_MEMORY.search(text)), multiplies=" * " in text))
        placed = sorted(set(modules[name].children.values()))
        keys[name] = key_of(flow, text, *(stub(modules[child]) for child in placed))
    mapped: dict[str, Mapped] = {}
    failures: dict[str, str] = {}
    children = Children()

    def look(name: str) -> bool:
        folder = store.find(keys[name])
        if folder is not None:
            mapped[name] = Mapped(folder, modules.keys())
        return folder is not None

    def tell() -> None:
        if progress is not None:
            progress(len(mapped) + len(failures), len(names))

    def job(bundle: Sequence[str]) -> None:
        with store.locked(*(keys[name] for name in bundle)):
            bundle = [name for name in bundle if not look(name)]  # another process may have been here
            if bundle:
                work(bundle)

    def work(bundle: Sequence[str]) -> None:
        try:
            netlists = run_yosys(children, bundle, modules, passes)
        except SynthesisFailed as error:
            if children.stopped:
                return
            if len(bundle) == 1:
                failures[bundle[0]] = str(error)
            else:
                for name in bundle:  # which one?
                    work([name])
            return
        for name, netlist in zip(bundle, netlists, strict=True):
            mapped[name] = Mapped(store.put(keys[name], partial(_keep, netlist)), modules.keys())

    waiting = [name for name in names if not look(name)]
    tell()
    if only_known:
        return mapped, dict.fromkeys(waiting, NOT_YET)
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        futures = [pool.submit(job, bundle) for bundle in _bundles(waiting, modules)]
        try:
            for future in as_completed(futures):
                future.result()
                tell()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # an interrupt waits for nothing
            children.stop()
            raise
    return mapped, failures
