"""A checkpoint folder with one {rank}.pth for each worker: experts joined in the order of ranks."""

import dataclasses
import re
from pathlib import Path

import torch

from moesaic.golden.importers.check import EXPERTS
from moesaic.golden.importers.choice import WeightSet, check_stored, choose
from moesaic.golden.importers.containers import read_held
from moesaic.golden.importers.files import Tensors
from moesaic.golden.importers.imported import Notes
from moesaic.golden.importers.problem import Findings, ImportProblem
from moesaic.golden.importers.wide import wide

__all__ = ["join_workers", "worker_files"]

_MOST = 4096  # workers; larger numbers in names are something else's, such as steps
_RANKED = re.compile(r"(\d+)\.pth")


def worker_files(folder: Path) -> dict[int, Path]:
    """Files of the workers by rank, in rising order of the number (10 after 9); empty if there are none."""
    found = {int(match.group(1)): path for path in folder.iterdir() if (match := _RANKED.fullmatch(path.name))}
    return {rank: found[rank] for rank in sorted(found)}


def join_workers(folder: Path, wanted: str | None, notes: Notes) -> tuple[WeightSet, list[WeightSet], int]:
    """All tensors of a checkpoint folder as `choose` gives them, and the number of workers.

    Worker 0 holds everything and its slice of the experts; the others may repeat what is shared, but not change it.

    Parameters
    ----------
    folder : Path
    wanted : str or None
    notes : Notes
        As for `choose`.

    Raises
    ------
    ImportProblem
        If a rank is missing, the workers' files do not hold the same experts, or what they share differs.
    """
    files = worker_files(folder)
    ranks = range(min(max(files) + 1, _MOST))
    gaps = [f"{rank}.pth" for rank in ranks if rank not in files]
    if gaps:
        raise ImportProblem(f"checkpoint must have a file for each worker, not {str(folder)!r}", {"missing": gaps})
    read: dict[int, Tensors] = {}
    taken, others = choose(read_held(files[0]), files[0], wanted, notes)
    for rank, path in files.items():
        mine = [held.tensors for held in read_held(path) if held.where == taken.held.where]
        read[rank] = mine[0] if mine else {}
        check_stored(read[rank], path)
    whole, findings = dict(read[0]), Findings()
    experts = [name for name in whole if EXPERTS in name]
    for rank, tensors in read.items():
        for name in experts:
            if name not in tensors:
                findings.add("missing", f"{name} (in {rank}.pth)")
            elif tensors[name].ndim == 0 or tensors[name].shape[1:] != whole[name].shape[1:]:
                findings.add(
                    "of the wrong shape",
                    f"{name} (in {rank}.pth)",
                    f"must be {['any', *whole[name].shape[1:]]}, not {list(tensors[name].shape)}",
                )
        for name, tensor in tensors.items():
            if name in experts or rank == 0:
                continue
            if name not in whole:
                findings.add("not in 0.pth", f"{name} (in {rank}.pth)")
            elif EXPERTS not in name and not torch.equal(wide(tensor), wide(whole[name])):
                findings.add("shared, but not the same as in 0.pth", f"{name} (in {rank}.pth)")
    findings.check(f"workers' files must be slices of one model, not {str(folder)!r}")
    for name in experts:
        slices = [read[rank][name] for rank in files]
        whole[name] = torch.cat(slices if len({part.dtype for part in slices}) == 1 else [wide(s) for s in slices])
    held = dataclasses.replace(taken.held, tensors=whole)
    others = [dataclasses.replace(other, held=held) if other.held is taken.held else other for other in others]
    return dataclasses.replace(taken, held=held), others, len(files)
