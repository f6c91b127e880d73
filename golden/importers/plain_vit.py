"""Plain ViT and DeiT state dicts, with the names of timm or of Hugging Face `transformers`."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import torch

from moesaic.golden.importers.blocks import Sizes, sizes_of, usual
from moesaic.golden.importers.chain import chain_network, square_image
from moesaic.golden.importers.check import checked_state
from moesaic.golden.importers.choice import HUGGING_FACE
from moesaic.golden.importers.files import Tensors
from moesaic.golden.importers.geometry import (
    extra_tokens,
    has_class_token,
    heads_of,
    image_size_of,
    makes_image,
    pixels_of,
)
from moesaic.golden.importers.hugging_face import to_timm
from moesaic.golden.importers.imported import Imported, ImportReport, Notes
from moesaic.golden.importers.names import Split, head_tasks, model_name
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.importers.preprocessing import read_preprocessing
from moesaic.golden.importers.problem import as_problem
from moesaic.golden.importers.shared import with_sharing
from moesaic.golden.importers.stated import read_stated
from moesaic.golden.importers.wide import for_host
from moesaic.golden.normalisation import of_unit

__all__ = ["import_plain"]

_EPS, _HUGGING_FACE_EPS = 1e-6, 1e-12
_EXTRA = ("dist_token", "reg_token")
_HOST = ("norm.", "pooler.")  # what follows the last block runs on the host, with the heads
_UNUSED = ("embeddings.mask_token", "mask_token")
_SCALE = re.compile(r"(blocks\.\d+)\.ls([12])\.gamma")


def _fold_scales(tensors: Tensors, notes: Notes) -> Tensors:
    """LayerScale into the layer before it: gamma * (W x + b) = (gamma W) x + gamma b, for every channel."""
    result = dict(tensors)
    for name, gamma in tensors.items():
        match = _SCALE.fullmatch(name)
        if match is None:
            continue
        layer = f"{match.group(1)}.{'attn.proj' if match.group(2) == '1' else 'mlp.fc2'}"
        weight, bias = tensors.get(f"{layer}.weight"), tensors.get(f"{layer}.bias")
        if weight is None or bias is None or gamma.shape != bias.shape or weight.shape[:1] != gamma.shape:
            continue  # stays, and is reported
        factor = gamma.to(torch.float64)
        # Rounded once, where float32 is made of everything.
        result[f"{layer}.weight"] = weight.to(torch.float64) * factor[:, None]
        result[f"{layer}.bias"] = bias.to(torch.float64) * factor
        del result[name]
    if len(result) < len(tensors):
        notes.notes.append(f"{len(tensors) - len(result)} LayerScale factors folded into the layers before them")
    return result


def _positions(tensors: Tensors, sizes: Sizes, prefix: int, options: ImportOptions, notes: Notes) -> Sizes:
    """Sizes with a row of positions for every token; adds zeros where learnt tokens have none (timm's
    no_embed_class).
    """
    if not prefix or makes_image(sizes.tokens - prefix, sizes.patch, options):
        return sizes
    if not makes_image(sizes.tokens, sizes.patch, options):
        return sizes  # no image either way, which is reported where its size is needed
    table = tensors["pos_embed"]
    tensors["pos_embed"] = torch.cat((table.new_zeros(1, prefix, table.shape[2]), table), dim=1)
    notes.notes.append(f"positions of the {prefix} learnt tokens are zero, as only patches have any")
    return dataclasses.replace(sizes, tokens=sizes.tokens + prefix)


def _told(sizes: Sizes, patches: int, biases: bool, in_file: Callable[[str], str]) -> dict[str, tuple[int | bool, str]]:
    """What tensors tell of the facts that config.json states, and which of them does."""
    embedding = in_file("patch_embed.proj.weight")
    told: dict[str, tuple[int | bool, str]] = {
        "channels of a token": (sizes.dim, embedding),
        "side of a patch": (sizes.patch, embedding),
        "channels of the image": (3, embedding),
        "blocks": (sizes.depth, "the tensors' names"),
        "biases of queries, keys and values": (biases, "the tensors"),
        "patches": (patches, in_file("pos_embed")),
    }
    if sizes.hidden:
        common = usual(sizes.hidden)
        layer = f"blocks.{sizes.hidden.index(common)}.mlp.fc1.weight"
        told["hidden units of an MLP"] = (common, in_file(layer))
    return told


def import_plain(split: Split, path: Path, options: ImportOptions, notes: Notes) -> Imported:
    """A model without experts from a ViT's or DeiT's state dict.

    The final norm, the pooler and the classifier are kept as heads: they follow the last block, on the host.

    Raises
    ------
    ImportProblem
        If sizes cannot be told, or tensors are missing, extra, mis-shaped, of the wrong type, or not finite.
    """
    source, theirs = str(path), split.anchor == HUGGING_FACE
    tensors, names = dict(split.backbone), dict[str, str]()
    folder = path if path.is_dir() else path.parent
    stated = read_stated(folder, transformers=theirs)
    if theirs:
        tensors, names = to_timm(tensors)
    heads = split.heads | {name: for_host(tensors.pop(name)) for name in list(tensors) if name.startswith(_HOST)}
    for name in _UNUSED:
        if tensors.pop(name, None) is not None:
            notes.notes.append(f"left out, as inference does not use it: {name}")
    tensors = _fold_scales(tensors, notes)
    sizes = sizes_of(tensors, source)
    count = extra_tokens(tensors, _EXTRA, source)
    typed, options = options, stated.over(options, notes)
    class_token = has_class_token("cls_token" in tensors, sizes.tokens - count, sizes.patch, options)
    sizes = _positions(tensors, sizes, class_token + count, options, notes)
    biases = any(re.fullmatch(r"blocks\.\d+\.attn\.qkv\.bias", name) for name in tensors)
    patches = sizes.tokens - class_token - count
    stated.check(_told(sizes, patches, biases, lambda name: split.in_file(names.get(name, name))), typed)
    if not biases:
        for block in range(sizes.depth):
            tensors[f"blocks.{block}.attn.qkv.bias"] = torch.zeros(3 * sizes.dim)
        notes.notes.append("query, key and value have no biases: zeros")
    tasks = options.tasks or head_tasks(heads) or ("classification",)
    preprocessing = read_preprocessing(folder, pixels=options.pixels)
    if options.image_size is None and preprocessing.size and _fits(preprocessing.size, sizes.patch, patches):
        options = dataclasses.replace(options, image_size=preprocessing.size)
    eps = stated.get("epsilon")
    if eps is None:
        eps = _HUGGING_FACE_EPS if theirs else _EPS
        notes.assumed.append(f"LayerNorm with epsilon {eps:g}, as published")
    image_size = image_size_of(patches, sizes.patch, options, notes)
    notes.notes += preprocessing.remarks(image_size)
    normalisation = preprocessing.normalisation
    if normalisation is None:
        normalisation = of_unit(*pixels_of("half" if theirs else "imagenet", options, notes))
    try:
        network = chain_network(
            name=model_name(path),
            tasks=tasks,
            image=square_image(image_size, sizes.patch, normalisation.mean, normalisation.std),
            dim=sizes.dim,
            heads=heads_of(sizes.dim, options, notes, mixture=False),
            hidden=sizes.hidden,
            class_token=class_token,
            extra_tokens=count,
            activation=stated.get("gelu") or "gelu",
            eps=eps,
        )
    except ValueError as error:
        raise as_problem(error, source) from error
    state = checked_state(
        network,
        tensors | split.rest,
        notes,
        source=source,
        fill=False,
        seed=options.seed,
        named=lambda name: split.in_file(names.get(name, name)),
    )
    if heads:
        notes.notes.append(f"{len(heads)} tensors that follow the last block kept for the host")
    else:
        notes.notes.append(f"nothing follows block {sizes.depth - 1}: a file with no final norm and no head may be cut")
    kind = f"plain vision transformer with the names of {'transformers' if theirs else 'timm'}"
    return Imported(
        network=with_sharing(network, state), state=state, heads=heads, report=ImportReport.of(source, kind, notes)
    )


def _fits(size: tuple[int, int], patch: int, patches: int) -> bool:
    """Whether an image of `size` has so many patches."""
    return size[0] % patch == size[1] % patch == 0 and size[0] * size[1] == patches * patch * patch
