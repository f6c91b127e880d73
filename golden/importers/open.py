"""The way in for models from outside: what a path or name stands for, and the importer that reads it."""

from collections.abc import Sequence
from pathlib import Path

from moesaic.golden.frontend.source import is_function, open_function
from moesaic.golden.importers.choice import HUGGING_FACE, WeightSet, choose
from moesaic.golden.importers.containers import read_held
from moesaic.golden.importers.edge_moe import import_edge_moe, is_edge_moe
from moesaic.golden.importers.imported import Imported, Notes
from moesaic.golden.importers.m3vit_checkpoint import import_checkpoint
from moesaic.golden.importers.names import split
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.importers.plain_vit import import_plain
from moesaic.golden.importers.problem import ImportProblem
from moesaic.golden.importers.sharded import INDEX, check_alone, read_sharded, shards_in
from moesaic.golden.importers.workers import join_workers, worker_files

__all__ = ["open_model"]

# As `save_pretrained` names them; of several the first is read, as by `from_pretrained`.
_WEIGHTS = tuple(f"{name}{suffix}" for name in ("model.safetensors", "pytorch_model.bin") for suffix in ("", INDEX))


def _by_names(
    taken: WeightSet, others: Sequence[WeightSet], path: Path, options: ImportOptions, notes: Notes, *, workers: int = 1
) -> Imported:
    """Import tensors as what their names say they are."""
    parts = split(taken, others, notes)
    mixture = any(".mlp.experts." in name or ".mlp.gate." in name for name in parts.backbone)
    if mixture and parts.anchor != HUGGING_FACE:
        return import_checkpoint(parts, path, options, notes, workers=workers)
    return import_plain(parts, path, options, notes)


def _of_file(file: Path, path: Path, options: ImportOptions, *, unread: Sequence[str] = ()) -> Imported:
    notes = Notes()
    if unread:
        notes.notes.append(f"{file.name} is read, not {', '.join(unread)}")
    held = read_sharded(file) if file.name.endswith(INDEX) else read_held(file)
    return _by_names(*choose(held, path, options.state_dict, notes), path, options, notes)


def open_model(text: str, options: ImportOptions) -> Imported:
    """Import a model.

    Parameters
    ----------
    text : str
        Path of an M3ViT checkpoint (one file, or a folder with {rank}.pth for each worker), of an Edge-MoE weight
        folder, or of a plain ViT's or DeiT's state dict (a file, or a folder that `save_pretrained` wrote); or
        `module:function`, whose module is captured.
    options : ImportOptions
        What the files do not say.

    Raises
    ------
    ImportProblem, CaptureError
        If it is none of these, or something is wrong with it: everything that is wrong is listed.
    OSError
        If it cannot be read.
    """
    path = Path(text)
    if is_function(text):
        return open_function(text, options)
    if not path.exists():
        raise ImportProblem(f"model must be a file or folder that exists, not {text!r}")
    if path.is_file():
        if path.name.endswith(INDEX):
            return _of_file(path, path.parent, options)
        check_alone(path)
        return _of_file(path, path, options)
    if is_edge_moe(path):
        if options.state_dict is not None:
            raise ImportProblem(f"state-dict must not be given for {str(path)!r}: its files are one set of weights")
        return import_edge_moe(path, options)
    if worker_files(path):
        notes = Notes()
        taken, others, workers = join_workers(path, options.state_dict, notes)
        return _by_names(taken, others, path, options, notes, workers=workers)
    if names := [name for name in _WEIGHTS if (path / name).is_file()]:
        return _of_file(path / names[0], path, options, unread=names[1:])
    if shards := shards_in(path):
        indexes = " or ".join(name for name in _WEIGHTS if name.endswith(INDEX))
        raise ImportProblem(
            f"shards must have {indexes} beside them, which says what they hold, not {str(path)!r}",
            {"shards": shards[:12]},
        )
    held = sorted(entry.name for entry in path.iterdir())
    raise ImportProblem(
        f"model must be a folder with 0.pth and so on, *.float32.bin, or {' or '.join(_WEIGHTS)}, not {text!r}",
        {f"it holds {len(held)} entries": held[:12]},
    )
