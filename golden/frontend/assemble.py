"""From what was recognised to the canonical model: its network, parameters, and whose parameters they were."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from moesaic.golden.frontend.meaning import Block, Embed, Norm, Patches, Residual, Stream
from moesaic.golden.frontend.refusal import CaptureError, line_of
from moesaic.golden.frontend.sharing import with_sharing
from moesaic.golden.layers.sizes import AttentionSizes, LayerSizes, MLPSizes, MoESizes, NormSizes
from moesaic.golden.network import Network
from moesaic.golden.nodes import Image, Layer, Origin, chain_of
from moesaic.golden.normalisation import Normalisation, of_bytes, recognised

__all__ = ["Assembled", "assemble", "chain"]


@dataclass(frozen=True)
class Assembled:
    """A canonical model.

    Parameters
    ----------
    network : Network
    state : dict of canonical name to Tensor
        Float32.
    names : dict of canonical name to the user's names
    normalised : bool
        Whether the user's model takes pixels that are normalised already.
    white : float
        Value of a white pixel as the user's model takes it, if it normalises itself: 1, or 255.
    warning : str
        What is doubtful about its normalisation; empty if nothing is.
    """

    network: Network
    state: dict[str, torch.Tensor]
    names: dict[str, tuple[str, ...]]
    normalised: bool
    white: float
    warning: str


@dataclass(frozen=True)
class _Gate:
    weight: torch.Tensor
    bias: torch.Tensor
    weight_names: tuple[str, ...]
    bias_names: tuple[str, ...]


Gates = dict[Residual, list[_Gate]]  # of every mixture of the first task, the gates of all


def chain(last: Residual) -> tuple[Embed, list[Residual]]:
    """The embedding and the residuals up to `last`, first to last."""
    found: list[Residual] = []
    stream: Stream = last
    while isinstance(stream, Residual):
        found.append(stream)
        stream = stream.before
    assert isinstance(stream, Embed)
    return stream, found[::-1]


def _blocks(residuals: Sequence[Residual]) -> list[list[Residual]]:
    """The residual stream by block: attention begins one, a mixture ends one."""
    blocks: list[list[Residual]] = []
    for residual in residuals:
        if not blocks or residual.block.kind == "attention" or blocks[-1][-1].block.kind == "mixture":
            blocks.append([])
        blocks[-1].append(residual)
    return blocks


def _sizes(block: Block, *, gate_bias: bool) -> LayerSizes:
    facts, parameters = block.facts, block.parameters
    if block.kind == "attention":
        inner = len(parameters["attn.qkv.weight"]) // 3
        return AttentionSizes(heads=facts["heads"], head_dim=inner // facts["heads"])
    if block.kind == "mlp":
        return MLPSizes(hidden=len(parameters["mlp.fc1.weight"]), **facts["hidden"])
    return MoESizes(
        experts=facts["experts"],
        hidden=parameters["mlp.experts.htoh4.weight"].shape[1],
        top_k=facts["top_k"],
        gate_kind=facts["gate_kind"],
        gate_bias=gate_bias,
        **facts["hidden"],
    )


def assemble(
    name: str,
    tasks: Sequence[str],
    lasts: Sequence[Residual],
    *,
    uint8: bool,
    mean: Sequence[float],
    std: Sequence[float],
) -> Assembled:
    """Put the canonical model together from one chain of residuals for each task.

    Parameters
    ----------
    name : str
    tasks : sequence of str
    lasts : sequence of Residual
        The last of each task.
    uint8 : bool
        Whether the user's model takes bytes.
    mean, std : numbers, one for each channel or one for all
        How pixels in [0, 1] are normalised before a model that does not do so itself.

    Raises
    ------
    CaptureError
        If tasks differ in more than their gates.
    """
    embed, residuals = chain(lasts[0])
    patches = embed.linear.source
    assert isinstance(patches, Patches)
    blocks = _blocks(residuals)
    gates = _gates([chain(last) for last in lasts], tasks, [n for n, block in enumerate(blocks) for _ in block])
    normalised = _takes_normalised(patches, uint8)
    channels, height, width = patches.pixels.shape
    pixels = _outside(mean, std, channels) if normalised else _normalisation(patches, uint8)
    image = Image(
        height=height,
        width=width,
        patch_height=patches.size[0],
        patch_width=patches.size[1],
        channels=channels,
        pixel_mean=tuple(pixels.mean),
        pixel_std=tuple(pixels.std),
        patch_norm=patches.norm,
    )
    nodes = chain_of(
        image,
        embed.learnt,
        embed.shape[1],
        [[_layer(r, gates) for r in block] for block in blocks],
        embed_norm=None if embed.norm is None else NormSizes(kind=embed.norm.kind, eps=float(embed.norm.eps)),
    )
    network = Network(
        name=name,
        tasks=tuple(tasks),
        image=image,
        class_token=embed.learnt > 0,
        extra_tokens=max(0, embed.learnt - 1),
        nodes=with_sharing(nodes, residuals),
    )
    state, names = _embedding(embed, patches, network)
    for place, block in zip(network.blocks, blocks, strict=True):
        for position, residual in enumerate(block):
            norm, layer = (f"{place.name}.{leaf}" for leaf in (place.norm_leaf(position), place.leaf(position)))
            mine = _norm_parameters(norm, residual.block.norm) | _layer_parameters(layer, residual, gates)
            state |= {key: tensor for key, (tensor, _) in mine.items()}
            names |= {key: whose for key, (_, whose) in mine.items()}
    state = {key: tensor.detach().float().contiguous() for key, tensor in state.items()}
    return Assembled(network, state, names, normalised, 1.0 if normalised else pixels.white, pixels.warning)


def _layer(residual: Residual, gates: Gates) -> Layer:
    biased = any(bool(gate.bias.any()) for gate in gates.get(residual, ()))
    block, node = residual.block, residual.node
    line = None if node is None else line_of(node)
    stack = [] if node is None else list((node.meta.get("nn_module_stack") or {}).values())
    module = stack[-1][0].replace("L['self'].", "") if stack else ""
    origin = Origin(module=module, line="" if line is None else f"{line.file}:{line.number}")
    return Layer(
        sizes=_sizes(block, gate_bias=biased),
        norm=NormSizes(kind=block.norm.kind, eps=float(block.norm.eps)),
        origin=origin,
    )


Named = dict[str, tuple[torch.Tensor, tuple[str, ...]]]  # a parameter by its canonical name, and whose it was


def _norm_parameters(path: str, norm: Norm) -> Named:
    weight, bias = norm.names
    return {f"{path}.weight": (norm.weight, weight), f"{path}.bias": (norm.bias, bias)}


def _layer_parameters(path: str, residual: Residual, gates: Gates) -> Named:
    block, found = residual.block, Named()
    for key, tensor in block.parameters.items():
        if not key.startswith("gate."):
            found[f"{path}.{key.partition('.')[2]}"] = tensor, block.names[key]
    mine = gates.get(residual, [])
    for task, gate in enumerate(mine):
        found[f"{path}.gate.{task}.w_gate"] = gate.weight, gate.weight_names
        if any(bool(other.bias.any()) for other in mine):
            found[f"{path}.gate.{task}.b_gate"] = gate.bias, gate.bias_names
    return found


def _takes_normalised(patches: Patches, uint8: bool) -> bool:
    """Whether the model does nothing to pixels before it embeds them."""
    return not uint8 and bool((patches.pixels.scale == 1).all()) and not bool(patches.pixels.offset.any())


def _outside(mean: Sequence[float], std: Sequence[float], channels: int) -> Normalisation:
    """A stated normalisation, for each channel; numbers that are all the same are of any channels."""
    if len(set(mean)) == len(set(std)) == 1:
        mean, std = [mean[0]] * channels, [std[0]] * channels
    if not len(mean) == len(std) == channels:
        numbers = "one number" if channels == 1 else f"{channels} numbers"
        raise CaptureError(f"pixel_mean and pixel_std must be {numbers} each, not {list(mean)} and {list(std)}")
    return recognised(mean, std)


def _normalisation(patches: Patches, uint8: bool) -> Normalisation:
    """Mean and deviation of pixels in [0, 1] that make the model's own arithmetic on pixels."""
    scale, offset = patches.pixels.scale, patches.pixels.offset
    if bool((scale <= 0).any()):
        raise CaptureError(f"pixels must be scaled by positive numbers, not {scale.tolist()}")
    mean, std = (-offset / scale).tolist(), (1 / scale).tolist()  # (x - mean) / std = x * scale + offset
    return of_bytes(mean, std) if uint8 else recognised(mean, std)


def _embedding(
    embed: Embed, patches: Patches, network: Network
) -> tuple[dict[str, torch.Tensor], dict[str, tuple[str, ...]]]:
    group, dim, image = embed.linear.groups[0], network.dim, network.image
    state = {
        "patch_embed.proj.weight": group.weight.reshape(dim, image.channels, *image.patch),
        "patch_embed.proj.bias": group.bias,
        "pos_embed": embed.table[None],
    }
    names = {
        "patch_embed.proj.weight": embed.linear.weight_names,
        "patch_embed.proj.bias": embed.linear.bias_names,
        "pos_embed": embed.names,
    }
    if embed.norm is not None:
        before = embed.norm.stream
        assert isinstance(before, Embed)
        state["patch_pos"], names["patch_pos"] = before.table[None, before.learnt :], before.names
        for key, (tensor, whose) in _norm_parameters("embed_norm", embed.norm).items():
            state[key], names[key] = tensor, whose
    # Learnt tokens are in the positions already: their own parameters are zero.
    for name, count in (("cls_token", int(network.class_token)), ("extra_tokens", network.extra_tokens)):
        if count:
            state[name], names[name] = torch.zeros(1, count, dim), ()
    return state, names


def _gates(chains: Sequence[tuple[Embed, list[Residual]]], tasks: Sequence[str], blocks: Sequence[int]) -> Gates:
    """Gates task by task; everything else must be the same for all tasks. `blocks` has the block of each residual."""
    reference_embed, reference = chains[0]
    gates: Gates = {}
    for task, (embed, residuals) in zip(tasks, chains, strict=True):
        if len(residuals) != len(reference):
            raise CaptureError(
                f"task '{task}' must use as many layers as task '{tasks[0]}', {len(reference)}, not {len(residuals)}"
            )
        if not _same_embedding(embed, reference_embed):
            raise CaptureError(f"task '{task}' must embed the image as task '{tasks[0]}' does: only gates may differ")
        for number, mine, other in zip(blocks, residuals, reference, strict=True):
            _check_same(mine.block, other.block, f"blocks.{number}", task, tasks[0])
            if mine.block.kind == "mixture":
                parameters, names = mine.block.parameters, mine.block.names
                gate = _Gate(
                    parameters["gate.weight"], parameters["gate.bias"], names["gate.weight"], names["gate.bias"]
                )
                gates.setdefault(other, []).append(gate)
    return gates


def _same_embedding(a: Embed, b: Embed) -> bool:
    mine, other = a.linear.source, b.linear.source
    assert isinstance(mine, Patches) and isinstance(other, Patches)
    group, group_of_other = a.linear.groups[0], b.linear.groups[0]
    pairs = (
        (a.table, b.table),
        (group.weight, group_of_other.weight),
        (group.bias, group_of_other.bias),
        (mine.pixels.scale, other.pixels.scale),
        (mine.pixels.offset, other.pixels.offset),
    )
    if mine.norm != other.norm or (a.norm is None) != (b.norm is None):
        return False
    return all(x.equal(y) for x, y in pairs) and (a.norm is None or b.norm is None or _same_norm(a.norm, b.norm))


def _same_norm(a: Norm, b: Norm) -> bool:
    """Whether two tasks' norms of the embedded patches are the same."""
    one, other = a.stream, b.stream
    assert isinstance(one, Embed) and isinstance(other, Embed)
    pairs = ((a.weight, b.weight), (a.bias, b.bias), (one.table, other.table))
    return (a.kind, a.eps) == (b.kind, b.eps) and all(x.equal(y) for x, y in pairs)


def _check_same(mine: Block, other: Block, where: str, task: str, first: str) -> None:
    differ = [
        key
        for key, tensor in mine.parameters.items()
        if not key.startswith("gate.") and not (key in other.parameters and tensor.equal(other.parameters[key]))
    ]
    if mine.kind != other.kind or mine.facts != other.facts or differ or not mine.norm.weight.equal(other.norm.weight):
        raise CaptureError(
            f"{where} must be the same for task '{task}' as for '{first}', except for its gates, not another "
            f"{', '.join(differ) or mine.kind}\nnearest supported: one gate per task, everything else shared; or a "
            f"program per task"
        )
