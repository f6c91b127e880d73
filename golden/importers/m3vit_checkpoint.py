"""M3ViT's training checkpoints: one file, or a folder with a slice of the experts for each worker."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from moesaic.golden.importers.blocks import agreed, consecutive, mixtures, shape, sizes_of, usual
from moesaic.golden.importers.chain import chain_network, square_image
from moesaic.golden.importers.check import EXPERTS, checked_state
from moesaic.golden.importers.files import Tensors
from moesaic.golden.importers.geometry import has_class_token, heads_of, image_size_of, pixels_of, task_names
from moesaic.golden.importers.imported import Imported, ImportReport, Notes
from moesaic.golden.importers.names import Split, head_tasks, model_name
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.importers.problem import ImportProblem, as_problem, folded
from moesaic.golden.importers.shared import with_sharing
from moesaic.golden.layers.sizes import MoESizes

__all__ = ["import_checkpoint"]

_GATE = re.compile(r"blocks\.\d+\.mlp\.gate\.(?:(\d+)\.)?w_gate")
# Tensors that only training uses: noise of the gates, auxiliary losses, a head before the decoders, task interaction.
_TRAINING = re.compile(r".*\.mlp\.gate\.(\d+\.)?(w_noise|w_gate_aux|w_noise_aux|head\..*)|pre_logits\..*|dist_token")
_INTERACTION = re.compile(r"(module\.)?tam_model\d\..*")


def _without_training(split: Split, notes: Notes) -> Tensors:
    dropped = [name for name in split.backbone if _TRAINING.fullmatch(name) or _INTERACTION.fullmatch(name)]
    dropped += [name for name in split.rest if _INTERACTION.fullmatch(name)]
    if dropped:
        notes.notes.append(f"left out, as inference does not use it: {', '.join(folded(dropped))}")
    left = {name: tensor for name, tensor in split.backbone.items() if name not in dropped}
    return left | {name: tensor for name, tensor in split.rest.items() if name not in dropped}


def _experts(tensors: Tensors, gates: list[str], blocks: Sequence[int], source: str) -> dict[int, tuple[int, int]]:
    """Experts and hidden units of each, by block: from gates, and from whichever tensors of the experts there are.

    A block that lacks them counts as the others: its tensors are listed as missing, or filled, later on.
    """
    counts = {
        block: usual(shape(tensors, name, 2, source)[1] for name in gates if name.startswith(f"blocks.{block}."))
        for block in blocks
    }
    common = usual(filter(None, counts.values()))
    votes: dict[int, list[int]] = {block: [] for block in blocks}
    for block in blocks:
        experts = counts[block] = counts[block] or common
        for part, dimensions, axis in (("htoh4.weight", 3, 1), ("htoh4.bias", 2, 1), ("h4toh.weight", 3, 2)):
            name = f"blocks.{block}{EXPERTS}{part}"
            if name not in tensors:
                continue
            found = shape(tensors, name, dimensions, source)
            if found[0] < experts:
                raise ImportProblem(
                    f"{name} must have all {experts} experts that the gate knows, not {found[0]} ({source}): "
                    f"experts are "
                    "spread over the workers' files 0.pth, 1.pth...; give the folder that holds all of them"
                )
            votes[block].append(found[axis])
    hidden = usual(itertools.chain(*votes.values()))
    if not hidden:
        raise ImportProblem(f"weights must have {EXPERTS}htoh4 in a block, not {source!r}")
    return {block: (counts[block], agreed(votes[block], hidden)) for block in blocks}


def _gates(tensors: Tensors, tasks: tuple[str, ...], shared: list[str], notes: Notes) -> Tensors:
    """Tensors in which every task has a gate of its own, where all tasks share one."""
    result = {name: tensor for name, tensor in tensors.items() if name not in shared}
    for name in shared:
        for task in range(len(tasks)):
            result[name.replace(".gate.w_gate", f".gate.{task}.w_gate")] = tensors[name]
    notes.notes.append("one gate for all tasks: each task has a copy of it")
    return result


def import_checkpoint(split: Split, path: Path, options: ImportOptions, notes: Notes, *, workers: int = 1) -> Imported:
    """A model from the tensors of an M3ViT checkpoint.

    Parameters
    ----------
    split : Split
        With timm's names, experts joined.
    path : Path
        For messages and the model's name.
    options : ImportOptions
    notes : Notes
        Receives what is assumed.
    workers : int
        Files it was read from.

    Raises
    ------
    ImportProblem
        If sizes cannot be told, or tensors are missing, extra, mis-shaped, of the wrong type, or not finite.
    """
    source, tensors = str(path), _without_training(split, notes)
    sizes = sizes_of(tensors, source)
    class_token = has_class_token("cls_token" in tensors, sizes.tokens, sizes.patch, options)
    named = {name: match.group(1) for name in tensors if (match := _GATE.fullmatch(name))}
    if not named:
        raise ImportProblem(f"weights must have a gate (blocks.1.mlp.gate.0.w_gate or so), not {source!r}")
    routed = _experts(tensors, list(named), mixtures(tensors, source), source)
    conditioned = any(name.startswith("gate_task_represent.") for name in tensors)
    multi = {int(task) for task in named.values() if task is not None}
    count, task_dim = consecutive(multi, "gates", source), 64
    if conditioned:
        task_dim, count = shape(tensors, "gate_task_represent.fc1.weight", 2, source)
    tasks = task_names(count, head_tasks(split.heads), options, notes)
    if not conditioned and not multi:
        tensors = _gates(tensors, tasks, list(named), notes)
    noisy = any(name.endswith(".w_noise") for name in split.backbone)
    gate = options.gate or ("noisy" if noisy else "noisy_vmoe")
    if options.gate is None and not noisy:
        notes.assumed.append("gate noisy_vmoe: softmax over all experts, then top-k (--gate)")
    hidden = routed[min(routed)][1]
    top_k = options.top_k or (4 if hidden == sizes.dim else 2)
    if options.top_k is None:
        notes.assumed.append(f"top-{top_k}, as published for experts of {hidden} hidden units (--top-k)")
    mean, deviation = pixels_of("imagenet", options, notes)
    try:
        image_size = image_size_of(sizes.tokens - class_token, sizes.patch, options, notes)
        network = chain_network(
            name=model_name(path),
            tasks=tasks,
            image=square_image(image_size, sizes.patch, mean, deviation),
            dim=sizes.dim,
            heads=heads_of(sizes.dim, options, notes, mixture=True),
            hidden=sizes.hidden,
            mixtures={
                block: MoESizes(
                    experts=count,
                    hidden=units,
                    top_k=top_k,
                    gate_kind=gate,
                    gate_task_dim=task_dim if conditioned else 0,
                )
                for block, (count, units) in routed.items()
            },
            class_token=class_token,
            task_channels=task_dim if conditioned else 0,
        )
    except ValueError as error:
        raise as_problem(error, source) from error
    state = checked_state(
        network, tensors, notes, source=source, fill=options.fill_missing, seed=options.seed, named=split.in_file
    )
    scope = "task-conditioned" if conditioned else "multi-gate"
    counts = sorted({count for count, _ in routed.values()})
    kind = f"M3ViT checkpoint, {scope}, {' or '.join(map(str, counts))} experts"
    if workers > 1:
        kind += f", of {workers} workers"
    if split.heads:
        notes.notes.append(f"{len(split.heads)} tensors of heads kept")
    report = ImportReport.of(source, kind, notes)
    return Imported(network=with_sharing(network, state), state=state, heads=split.heads, report=report)
