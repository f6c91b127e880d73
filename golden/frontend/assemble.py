"""From what was recognised to the canonical model: configuration, parameters, and whose parameters they were."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from moesaic.golden.config import M3ViTConfig
from moesaic.golden.frontend.meaning import Block, Embed, Patches, Residual, Stream
from moesaic.golden.frontend.refusal import CaptureError
from moesaic.golden.layers.sizes import MLPSizes, MoESizes, TokenLayerSizes
from moesaic.golden.normalisation import Normalisation, of_bytes, recognised

__all__ = ["Assembled", "assemble", "chain"]


@dataclass(frozen=True)
class Assembled:
    """A canonical model.

    Parameters
    ----------
    config : M3ViTConfig
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

    config: M3ViTConfig
    state: dict[str, torch.Tensor]
    names: dict[str, tuple[str, ...]]
    normalised: bool
    white: float
    warning: str


def chain(last: Residual) -> tuple[Embed, list[Residual]]:
    """The embedding and the residuals up to `last`, first to last."""
    found: list[Residual] = []
    stream: Stream = last
    while isinstance(stream, Residual):
        found.append(stream)
        stream = stream.before
    assert isinstance(stream, Embed)
    return stream, found[::-1]


def _one(values: Sequence[object], what: str) -> object:
    distinct = list(dict.fromkeys(values))
    if len(distinct) > 1:
        raise CaptureError(
            f"{what} must be the same in every block, not {', '.join(map(str, distinct))}\n"
            f"nearest supported: one {what} for the whole model"
        )
    return distinct[0] if distinct else None


def _sizes(block: Block) -> TokenLayerSizes:
    """Sizes of what follows attention."""
    if block.kind == "mixture":
        hidden = block.parameters["mlp.experts.htoh4.weight"].shape[1]
        return MoESizes(experts=block.facts["experts"], hidden=hidden, top_k=block.facts["top_k"])
    return MLPSizes(hidden=len(block.parameters["mlp.fc1.weight"]))


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
    mean, std : three numbers
        How pixels in [0, 1] are normalised before a model that does not do so itself.

    Raises
    ------
    CaptureError
        If blocks differ in what the configuration has one of, or tasks in more than their gates.
    """
    embed, residuals = chain(lasts[0])
    attention = [r.block for r in residuals[0::2]]
    mlps = [r.block for r in residuals[1::2]]
    patches = embed.linear.source
    assert isinstance(patches, Patches)
    mixtures = [block for block in mlps if block.kind == "mixture"]
    gate_kind = _one([block.facts["gate_kind"] for block in mixtures], "kind of gate")
    gates = _gates([chain(last) for last in lasts], tasks)
    has_bias = any(bool(gate.bias.any()) for by_task in gates.values() for gate in by_task)
    normalised = _takes_normalised(patches, uint8)
    pixels = recognised(mean, std) if normalised else _normalisation(patches, uint8)
    config = M3ViTConfig(
        name=name,
        image_size=(patches.pixels.shape[1], patches.pixels.shape[2]),
        patch_size=patches.patch,
        dim=embed.shape[1],
        heads=int(str(_one([b.facts["heads"] for b in attention], "heads"))),
        depth=len(attention),
        experts=0,
        layers=tuple(_sizes(block) for block in mlps),
        tasks=tuple(tasks),
        gate_kind="noisy_vmoe" if gate_kind is None else str(gate_kind),
        gate_scope="multi_gate",
        gate_bias=has_bias,
        class_token=embed.learnt > 0,
        extra_tokens=max(0, embed.learnt - 1),
        gelu=str(_one([b.facts["gelu"] for b in mlps], "kind of GELU")),
        eps=float(str(_one([b.norm.eps for b in (*attention, *mlps)], "eps of LayerNorm"))),
        pixel_mean=pixels.mean,
        pixel_std=pixels.std,
    )
    state, names = _embedding(embed, patches, config)
    for i, (first_half, second_half) in enumerate(zip(attention, mlps, strict=True)):
        for number, block in ((1, first_half), (2, second_half)):
            for part, tensor, whose in zip(
                ("weight", "bias"), (block.norm.weight, block.norm.bias), block.norm.names, strict=True
            ):
                state[f"blocks.{i}.norm{number}.{part}"] = tensor
                names[f"blocks.{i}.norm{number}.{part}"] = whose
            for key, tensor in block.parameters.items():
                if not key.startswith("gate."):
                    state[f"blocks.{i}.{key}"], names[f"blocks.{i}.{key}"] = tensor, block.names[key]
    for i, by_task in gates.items():
        for task, gate in enumerate(by_task):
            key = f"blocks.{i}.mlp.gate.{task}"
            state[f"{key}.w_gate"], names[f"{key}.w_gate"] = gate.weight, gate.weight_names
            if has_bias:
                state[f"{key}.b_gate"], names[f"{key}.b_gate"] = gate.bias, gate.bias_names
    state = {key: tensor.detach().float().contiguous() for key, tensor in state.items()}
    return Assembled(config, state, names, normalised, 1.0 if normalised else pixels.white, pixels.warning)


def _takes_normalised(patches: Patches, uint8: bool) -> bool:
    """Whether the model does nothing to pixels before it embeds them."""
    return not uint8 and bool((patches.pixels.scale == 1).all()) and not bool(patches.pixels.offset.any())


def _normalisation(patches: Patches, uint8: bool) -> Normalisation:
    """Mean and deviation of pixels in [0, 1] that make the model's own arithmetic on pixels."""
    scale, offset = patches.pixels.scale, patches.pixels.offset
    if bool((scale <= 0).any()):
        raise CaptureError(f"pixels must be scaled by positive numbers, not {scale.tolist()}")
    mean, std = (-offset / scale).tolist(), (1 / scale).tolist()  # (x - mean) / std = x * scale + offset
    return of_bytes(mean, std) if uint8 else recognised(mean, std)


def _embedding(
    embed: Embed, patches: Patches, config: M3ViTConfig
) -> tuple[dict[str, torch.Tensor], dict[str, tuple[str, ...]]]:
    group, dim, side = embed.linear.groups[0], config.dim, config.patch_size
    state = {
        "patch_embed.proj.weight": group.weight.reshape(dim, 3, side, side),
        "patch_embed.proj.bias": group.bias,
        "pos_embed": embed.table[None],
    }
    names = {
        "patch_embed.proj.weight": embed.linear.weight_names,
        "patch_embed.proj.bias": embed.linear.bias_names,
        "pos_embed": embed.names,
    }
    # Learnt tokens are in the positions already: their own parameters are zero.
    for name, count in (("cls_token", int(config.class_token)), ("extra_tokens", config.extra_tokens)):
        if count:
            state[name], names[name] = torch.zeros(1, count, dim), ()
    return state, names


@dataclass(frozen=True)
class _Gate:
    weight: torch.Tensor
    bias: torch.Tensor
    weight_names: tuple[str, ...]
    bias_names: tuple[str, ...]


def _gates(chains: Sequence[tuple[Embed, list[Residual]]], tasks: Sequence[str]) -> dict[int, list[_Gate]]:
    """Gates of every mixture block, task by task; everything else must be the same for all tasks."""
    reference_embed, reference = chains[0]
    gates: dict[int, list[_Gate]] = {}
    for task, (embed, residuals) in zip(tasks, chains, strict=True):
        if len(residuals) != len(reference):
            raise CaptureError(f"task '{task}' must use as many blocks as task '{tasks[0]}', not {len(residuals) // 2}")
        if not _same_embedding(embed, reference_embed):
            raise CaptureError(f"task '{task}' must embed the image as task '{tasks[0]}' does: only gates may differ")
        for i, (mine, other) in enumerate(zip(residuals, reference, strict=True)):
            _check_same(mine.block, other.block, f"blocks.{i // 2}", task, tasks[0])
            if mine.block.kind == "mixture":
                parameters, names = mine.block.parameters, mine.block.names
                gate = _Gate(
                    parameters["gate.weight"], parameters["gate.bias"], names["gate.weight"], names["gate.bias"]
                )
                gates.setdefault(i // 2, []).append(gate)
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
    return all(x.equal(y) for x, y in pairs)


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
