"""Edge-MoE's weight folder: raw float32 files by name, sizes from the files, the expected output compared."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moesaic.golden.importers.blocks import agreed, consecutive, depth_of, mixtures
from moesaic.golden.importers.chain import chain_network, square_image
from moesaic.golden.importers.check import checked_state, shapes_of
from moesaic.golden.importers.files import Tensors
from moesaic.golden.importers.geometry import heads_of, image_size_of, pixels_of, task_names
from moesaic.golden.importers.imported import Imported, ImportReport, Notes
from moesaic.golden.importers.names import model_name
from moesaic.golden.importers.options import PIXELS, ImportOptions
from moesaic.golden.importers.problem import Findings, ImportProblem, as_problem
from moesaic.golden.importers.raw import SUFFIX, read_raw
from moesaic.golden.importers.shared import with_sharing
from moesaic.golden.layers.sizes import MoESizes
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.network import Network

__all__ = ["import_edge_moe", "is_edge_moe"]

Array = np.ndarray[Any, Any]

MOST_ERROR = 1e-3  # of an expected output's mean square; float32 in another order of sums is below 1e-9
_WHOLE = {"patch_embed_weight": "patch_embed.proj.weight", "patch_embed_bias": "patch_embed.proj.bias"}
_LAYER = {
    "norm1": "norm1",
    "norm2": "norm2",
    "qkv": "attn.qkv",
    "attn_proj": "attn.proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "htoh4": "mlp.experts.htoh4",
    "h4toh": "mlp.experts.h4toh",
}
_NAME = re.compile(r"l(\d+)_(\w+?)_(weight|bias)")
_GATE = re.compile(r"l(\d+)_w_gate_T_task(\d+)")
_EXPECTED = re.compile(r"l(\d+)_x_post_(?:moe|mlp)")


@dataclass(frozen=True)
class _Sizes:
    dim: int
    patch: int
    tokens: int
    hidden: tuple[int, ...]  # of each block's dense MLP
    routed: dict[int, tuple[int, int]]  # by mixture: experts, and hidden units of each
    tasks: int


def is_edge_moe(folder: Path) -> bool:
    """Whether a folder has files of this format."""
    return any(folder.glob(f"*{SUFFIX}"))


def _whole(count: int, per: int, name: str, what: str, source: str) -> int:
    if per < 1 or count % per or not count:
        raise ImportProblem(f"{name} must have a multiple of {per} values ({what}), not {count} ({source})")
    return count // per


def _sizes(raw: dict[str, Array], source: str) -> _Sizes:
    """Sizes from the number of values in each file: what most of a kind have, as one may be cut short."""

    def usual(pattern: str) -> tuple[str, int]:
        found = [name for name in sorted(raw) if re.fullmatch(pattern, name)]
        counts = Counter(raw[name].size for name in found)
        size = max(
            counts, key=lambda size: (counts[size], size), default=0
        )  # of two the larger: files are cut, not stretched
        return next(((name, size) for name in found if raw[name].size == size), ("", 0))

    name, dim = usual(r"patch_embed_bias|l\d+_norm[12]_(weight|bias)")
    if not dim:
        raise ImportProblem(
            f"weights must have patch_embed_bias{SUFFIX} or a norm's, which give the channels, not {source!r}"
        )
    for needed in ("patch_embed_weight", "pos_embed"):
        if needed not in raw:
            raise ImportProblem(f"weights must have {needed}{SUFFIX}, which gives the model's sizes, not {source!r}")
    patch = round(
        (_whole(raw["patch_embed_weight"].size, 3 * dim, "patch_embed_weight", "3 x channels", source)) ** 0.5
    )
    if 3 * dim * patch * patch != raw["patch_embed_weight"].size:
        raise ImportProblem(
            f"patch_embed_weight must be of square patches, not {raw['patch_embed_weight'].size} values ({source})"
        )
    tokens = _whole(raw["pos_embed"].size, dim, "pos_embed", "channels", source)
    names = {canonical: raw[n].size for n in raw if (canonical := _canonical(n)) is not None}
    tasks = consecutive((int(match.group(2)) for n in raw if (match := _GATE.fullmatch(n))), "gates", source)
    if not tasks:
        raise ImportProblem(f"weights must have l1_w_gate_T_task0{SUFFIX} or another gate, not {source!r}")
    name, gate = usual(_GATE.pattern)
    experts = _whole(gate, dim, name, "channels", source)
    name, hidden = usual(r"l\d+_fc1_bias")
    if not hidden:
        name, hidden = usual(r"l\d+_fc[12]_weight")
        hidden = _whole(hidden, dim, name, "channels", source) if hidden else 4 * dim
    name, count = usual(r"l\d+_htoh4_bias")
    if count:
        expert_hidden = _whole(count, experts, name, "experts", source)
    else:
        name, count = usual(r"l\d+_(htoh4|h4toh)_weight")
        if not count:
            raise ImportProblem(f"weights must have l1_htoh4_bias{SUFFIX} or an expert's weights, not {source!r}")
        expert_hidden = _whole(count, experts * dim, name, "experts x channels", source)
    depth, routed = depth_of(names, source), dict[int, tuple[int, int]]()
    for block in mixtures(names, source):
        layer = f"blocks.{block}.mlp."
        here = agreed(_votes(names, {f"{layer}gate.{task}.w_gate": dim for task in range(tasks)}), experts)
        bias, per = f"{layer}experts.htoh4.bias", here * dim
        units = _votes(names, {bias: here, f"{layer}experts.htoh4.weight": per, f"{layer}experts.h4toh.weight": per})
        routed[block] = here, agreed(units, expert_hidden)
    dense = [
        agreed(_votes(names, {f"{layer}fc1.bias": 1, f"{layer}fc1.weight": dim, f"{layer}fc2.weight": dim}), hidden)
        for layer in (f"blocks.{block}.mlp." for block in range(depth))
    ]
    return _Sizes(dim, patch, tokens, tuple(dense), routed, tasks)


def _votes(sizes: Mapping[str, int], per: Mapping[str, int]) -> list[int]:
    """What tensors say about a size, by the values that one of it takes in each; those that are not whole say none."""
    return [sizes[name] // values for name, values in per.items() if name in sizes and not sizes[name] % values]


def _canonical(name: str) -> str | None:
    """The model's name of a file's tensor; None for a file that holds no parameter, or is not of this format."""
    if name in _WHOLE:
        return _WHOLE[name]
    if name == "pos_embed":
        return name
    if match := _GATE.fullmatch(name):
        return f"blocks.{match.group(1)}.mlp.gate.{match.group(2)}.w_gate"
    if (match := _NAME.fullmatch(name)) and match.group(2) in _LAYER:
        return f"blocks.{match.group(1)}.{_LAYER[match.group(2)]}.{match.group(3)}"
    return None


def _file_name(name: str) -> str:
    """The file's name for a tensor of the model."""
    for theirs, ours in _WHOLE.items():
        if name == ours:
            return f"{theirs}{SUFFIX}"
    if match := re.fullmatch(r"blocks\.(\d+)\.mlp\.gate\.(\d+)\.w_gate", name):
        return f"l{match.group(1)}_w_gate_T_task{match.group(2)}{SUFFIX}"
    if match := re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias)", name):
        theirs = next((theirs for theirs, ours in _LAYER.items() if ours == match.group(2)), match.group(2))
        return f"l{match.group(1)}_{theirs}_{match.group(3)}{SUFFIX}"
    return f"{name}{SUFFIX}"


def _tensors(raw: dict[str, Array], dim: int, shapes: dict[str, tuple[int, ...]], findings: Findings) -> Tensors:
    """Values in the model's shapes: positions with a leading 1, gates transposed back, no class token of its own."""
    tensors: Tensors = {"cls_token": torch.zeros(1, 1, dim)}  # it lies in row 0 of pos_embed already
    for name, values in raw.items():
        canonical = _canonical(name)
        if canonical is None:
            if name != "image" and not _EXPECTED.fullmatch(name):
                findings.add("not of this format", f"{name}{SUFFIX}")
            continue
        if canonical not in shapes:
            findings.add("not in the model", f"{name}{SUFFIX}", f"{values.size} values")
            continue
        shape = shapes[canonical]
        if values.size != np.prod(shape):
            wanted = " x ".join(map(str, shape))
            findings.add(
                "of the wrong size",
                f"{name}{SUFFIX}",
                f"must have {wanted} = {int(np.prod(shape))} values, not {values.size}",
            )
            tensors[canonical] = torch.zeros(shape)  # only so that it is not listed as missing too
        elif canonical.endswith(".w_gate"):
            tensors[canonical] = torch.from_numpy(values.reshape(shape[::-1])).T
        else:
            tensors[canonical] = torch.from_numpy(values.reshape(shape))
    return tensors


def _pixels(raw: dict[str, Array], options: ImportOptions, notes: Notes) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation: pixels of the published network are 8-bit fractions, byte / 256, as its image shows."""
    image = raw.get("image")
    if options.pixels is None and image is not None:
        for name, levels in (("fixed8", 256), ("unit", 255)):
            bytes_ = np.rint(image * levels)
            if (
                np.array_equal(image, (bytes_ / levels).astype(np.float32))
                and 0 <= bytes_.min()
                and bytes_.max() <= 255
            ):
                notes.notes.append(f"pixels are byte / {levels}, as image{SUFFIX} has them ({name!r}, --pixels)")
                return PIXELS[name]
    return pixels_of("fixed8", options, notes)


@torch.no_grad()
def _compare(raw: dict[str, Array], imported: Network, state: Tensors, notes: Notes, source: str) -> None:
    """Hold the expected output of the last block against the imported model's, if the folder has both ends."""
    name = next((name for name in raw if _EXPECTED.fullmatch(name)), None)
    if name is None or "image" not in raw:
        return
    if notes.filled:
        notes.checked = f"{name} is not compared, as experts are drawn at random"
        return
    block = int(name[1 : name.index("_")])
    size, tokens = imported.image.shape, (imported.tokens, imported.dim)
    if raw["image"].size != np.prod(size) or raw[name].size != np.prod(tokens) or block >= imported.depth:
        raise ImportProblem(
            f"image and {name} must be {list(size)} and {list(tokens)} of a block below {imported.depth}, "
            f"not {raw['image'].size} and {raw[name].size} values ({source})"
        )
    model = M3ViT(imported)
    model.load_state_dict(state)
    fixed = (imported.image.pixel_mean, imported.image.pixel_std) == PIXELS["fixed8"]
    image = torch.from_numpy(raw["image"].reshape(size)) * (256 / 255 if fixed else 1)  # white is 1 for the model
    output = model.eval()(image, 0)[block].numpy()
    expected = raw[name].reshape(tokens)
    error, worst = float(np.square(output - expected).mean()), float(np.abs(output - expected).max())
    relative = error / max(float(np.square(expected).mean()), 1e-30)
    if not relative <= MOST_ERROR:
        raise ImportProblem(
            f"output of block {block} must be the folder's {name}{SUFFIX} with a mean squared error of "
            f"{MOST_ERROR:g} of its mean "
            f"square, not {relative:.3g}: other --heads, --top-k, --gate, --pixels or --image-size may be right; "
            f"without that "
            f"file there is no comparison ({source})"
        )
    notes.checked = (
        f"output of block {block} for the folder's image is {name}: mean squared error {error:.3g}, largest {worst:.3g}"
    )


def import_edge_moe(folder: Path, options: ImportOptions) -> Imported:
    """A model from a folder of `<what>.float32.bin` files.

    Raises
    ------
    ImportProblem
        If sizes cannot be told, files are missing, extra, cut short, big-endian or not finite (all are listed), or the
        folder's expected output is not what the model computes.
    """

    source, findings, notes = str(folder), Findings(), Notes()
    raw = read_raw(folder, findings)
    findings.check(f"weights must be little-endian float32 files, not {source!r}")
    sizes = _sizes(raw, source)
    tasks = task_names(sizes.tasks, (), options, notes)
    if options.top_k is None:
        notes.assumed.append("top-2, as published (--top-k)")
    if options.gate is None:
        notes.assumed.append("gate noisy_vmoe: softmax over all experts, then top-k (--gate)")
    mean, deviation = _pixels(raw, options, notes)
    try:
        image_size = image_size_of(sizes.tokens - 1, sizes.patch, options, notes)
        network = chain_network(
            name=model_name(folder),
            tasks=tasks,
            image=square_image(image_size, sizes.patch, mean, deviation),
            dim=sizes.dim,
            heads=heads_of(sizes.dim, options, notes, mixture=True),
            hidden=sizes.hidden,
            mixtures={
                block: MoESizes(
                    experts=experts, hidden=units, top_k=options.top_k or 2, gate_kind=options.gate or "noisy_vmoe"
                )
                for block, (experts, units) in sizes.routed.items()
            },
            class_token=True,
        )
    except ValueError as error:
        raise as_problem(error, source) from error
    tensors = _tensors(raw, network.dim, shapes_of(network), findings)
    state = checked_state(
        network,
        tensors,
        notes,
        source=source,
        fill=options.fill_missing,
        seed=options.seed,
        named=_file_name,
        findings=findings,
    )
    notes.notes.append("the class token lies in row 0 of the positions; gates transposed back")
    _compare(raw, network, state, notes, source)
    kind = f"Edge-MoE weight folder, {len(raw)} files"
    return Imported(
        network=with_sharing(network, state), state=state, heads={}, report=ImportReport.of(source, kind, notes)
    )
