"""Published formats, written and computed from their description alone: nothing here comes from the importers."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Geometry:
    """Sizes of a published or made-up network."""

    height: int
    width: int
    patch: int
    dim: int
    heads: int
    depth: int
    hidden: int
    experts: int = 16
    expert_hidden: int = 0
    top_k: int = 2
    tasks: int = 2
    pixels: tuple = field(default=IMAGENET)
    eps: float = 1e-6

    @property
    def tokens(self) -> int:
        return (self.height // self.patch) * (self.width // self.patch) + 1


TINY = Geometry(128, 256, 16, 192, 3, 12, 768, expert_hidden=384)
SMALL = Geometry(480, 640, 16, 384, 12, 12, 1536, expert_hidden=768)
MICRO = Geometry(32, 64, 8, 32, 2, 4, 64, experts=6, expert_hidden=48)
TASK_DIM = 64


def random_state(
    g: Geometry, *, conditioned: bool = False, noisy: bool = False, seed: int = 0
) -> dict[str, torch.Tensor]:
    """A backbone's state dict with M3ViT's published names and shapes; deviations keep attention and gates uneven."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float, mean: float = 0.0) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * scale + mean

    d, state = g.dim, {}
    state["cls_token"] = draw(1, 1, d, scale=0.5)
    state["pos_embed"] = draw(1, g.tokens, d, scale=0.5)
    state["patch_embed.proj.weight"] = draw(d, 3, g.patch, g.patch, scale=1.5 / g.patch)
    state["patch_embed.proj.bias"] = draw(d, scale=0.1)

    def linear(name: str, out: int, inputs: int, gain: float = 1.0) -> None:
        state[f"{name}.weight"] = draw(out, inputs, scale=gain * inputs**-0.5)
        state[f"{name}.bias"] = draw(out, scale=0.1)

    for i in range(g.depth):
        b = f"blocks.{i}"
        for norm in ("norm1", "norm2"):
            state[f"{b}.{norm}.weight"] = draw(d, scale=0.2, mean=1.0)
            state[f"{b}.{norm}.bias"] = draw(d, scale=0.1)
        linear(f"{b}.attn.qkv", 3 * d, d, 1.3)
        linear(f"{b}.attn.proj", d, d)
        if i % 2 == 0:
            linear(f"{b}.mlp.fc1", g.hidden, d)
            linear(f"{b}.mlp.fc2", d, g.hidden)
            continue
        for part, shape in (("htoh4", (g.expert_hidden, d)), ("h4toh", (d, g.expert_hidden))):
            state[f"{b}.mlp.experts.{part}.weight"] = draw(g.experts, *shape, scale=shape[1] ** -0.5)
            state[f"{b}.mlp.experts.{part}.bias"] = draw(g.experts, shape[0], scale=0.1)
        gates = [f"{b}.mlp.gate.w_gate"] if conditioned else [f"{b}.mlp.gate.{t}.w_gate" for t in range(g.tasks)]
        for gate in gates:
            state[gate] = draw(d + TASK_DIM * conditioned, g.experts, scale=1.5 * d**-0.5)
            if noisy:
                state[gate.replace("w_gate", "w_noise")] = draw(d + TASK_DIM * conditioned, g.experts, scale=1.0)
    if conditioned:
        linear("gate_task_represent.fc1", TASK_DIM, g.tasks)
        linear("gate_task_represent.fc2", TASK_DIM, TASK_DIM)
        state["gate_task_represent.norm.weight"] = draw(TASK_DIM, scale=0.2, mean=1.0)
        state["gate_task_represent.norm.bias"] = draw(TASK_DIM, scale=0.1)
    return state


def decoder_state(g: Geometry, tasks: tuple[str, ...], seed: int = 1) -> dict[str, torch.Tensor]:
    """Some of what M3ViT's heads are called."""
    generator = torch.Generator().manual_seed(seed)
    return {
        f"decoders.{task}.{name}": torch.randn(shape, generator=generator)
        for task in tasks
        for name, shape in (("norm.weight", (g.dim,)), ("conv_0.weight", (256, g.dim, 3, 3)), ("conv_4.bias", (7,)))
    }


def dense_state(g: Geometry, seed: int = 0) -> dict[str, torch.Tensor]:
    """A plain ViT's backbone: the published names of a dense block in every place."""
    blocks = {}
    for i in range(g.depth):  # block 0 of a network of one block, once for each block
        one = random_state(replace(g, depth=1), seed=seed + i)
        blocks |= {name.replace("blocks.0", f"blocks.{i}"): t for name, t in one.items() if name.startswith("blocks.")}
    whole = random_state(replace(g, depth=1), seed=seed)
    return {name: t for name, t in whole.items() if not name.startswith("blocks.")} | blocks


def transformers_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A plain ViT's state dict under the names that `transformers` writes."""
    whole = {
        "cls_token": "embeddings.cls_token",
        "dist_token": "embeddings.distillation_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "norm": "layernorm",
    }
    block = {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    result = {}
    for name, tensor in state.items():
        layer, _, kind = name.rpartition(".")
        if not name.startswith("blocks."):
            result[whole[name] if name in whole else f"{whole[layer]}.{kind}"] = tensor
            continue
        _, number, part = layer.split(".", 2)
        if part != "attn.qkv":
            result[f"encoder.layer.{number}.{block[part]}.{kind}"] = tensor
            continue
        for which, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            result[f"encoder.layer.{number}.attention.attention.{which}.{kind}"] = piece.clone()
    return result


def save_workers(folder: Path, state: dict[str, torch.Tensor], workers: int, prefix: str = "") -> None:
    """A checkpoint folder: rank 0 has everything and its slice of the experts, the others their slices."""
    folder.mkdir()
    for rank in range(workers):
        mine = {}
        for name, tensor in state.items():
            if ".mlp.experts." in name:
                mine[prefix + name] = tensor.chunk(workers)[rank].clone()
            elif rank == 0:
                mine[prefix + name] = tensor
        torch.save(
            {"epoch": 3, "state_dict": mine, "best_result": {"multi_task_performance": -1.5}}, folder / f"{rank}.pth"
        )


def save_edge_moe(
    folder: Path, g: Geometry, state: dict[str, torch.Tensor], *, leave_out: tuple[str, ...] = ()
) -> None:
    """A folder in Edge-MoE's format from a multi-gate state dict, image and expected output of task 0 included."""
    folder.mkdir()
    files = {}
    for name, tensor in state.items():
        part = name.split(".")
        if name == "pos_embed":
            table = tensor[0].clone()
            table[0] += state["cls_token"][0, 0]
            files["pos_embed"] = table
        elif name.startswith("patch_embed.proj."):
            files[f"patch_embed_{part[-1]}"] = tensor
        elif name.endswith("w_gate"):
            files[f"l{part[1]}_w_gate_T_task{part[4]}"] = tensor.T
        elif name != "cls_token":
            middle = "attn_proj" if part[-2] == "proj" else part[-2]
            files[f"l{part[1]}_{middle}_{part[-1]}"] = tensor
    image = np.random.default_rng(3).integers(0, 256, (3, g.height, g.width)) / 256
    files["image"] = torch.from_numpy(image)
    last = g.depth - 1
    kind = "moe" if last % 2 else "mlp"
    files[f"l{last}_x_post_{kind}"] = reference(g, state, image, 0, pixels=UNIT)[-1]
    for name, tensor in files.items():
        if name not in leave_out:
            np.ascontiguousarray(tensor.numpy(), "<f4").tofile(folder / f"{name}.float32.bin")


def reference(
    g: Geometry, state: dict[str, torch.Tensor], image, task: int, *, pixels=None, noisy: bool = False, blocks=None
) -> list[torch.Tensor]:
    """Outputs [N, dim] of all blocks by M3ViT's published equations, float64; `image` [3, H, W] in [0, 1]."""
    s = {name: tensor.double() for name, tensor in state.items()}

    def norm(x, name):
        mean = torch.einsum("...d->...", x)[..., None] / x.shape[-1]
        variance = torch.einsum("...d,...d->...", x - mean, x - mean)[..., None] / x.shape[-1]
        return (x - mean) / (variance + g.eps).sqrt() * s[f"{name}.weight"] + s[f"{name}.bias"]

    def linear(x, name):
        return torch.einsum("...i,oi->...o", x, s[f"{name}.weight"]) + s[f"{name}.bias"]

    def gelu(x):
        return x / 2 * (1 + torch.erf(x / math.sqrt(2)))

    def softmax(x):
        e = torch.exp(x - x.amax(-1, keepdim=True))
        return e / e.sum(-1, keepdim=True)

    mean, deviation = (torch.tensor(values).double()[:, None, None] for values in pixels or g.pixels)
    x = (torch.as_tensor(image).double() - mean) / deviation
    p, rows, columns = g.patch, g.height // g.patch, g.width // g.patch
    x = x.reshape(3, rows, p, columns, p)
    x = torch.einsum("crpqw,dcpw->rqd", x, s["patch_embed.proj.weight"]) + s["patch_embed.proj.bias"]
    x = torch.cat((s["cls_token"][0], x.reshape(rows * columns, g.dim))) + s["pos_embed"][0]
    outputs = []
    for i in range(g.depth if blocks is None else blocks):
        b = f"blocks.{i}"
        qkv = linear(norm(x, f"{b}.norm1"), f"{b}.attn.qkv").reshape(len(x), 3, g.heads, g.dim // g.heads)
        q, k, v = qkv[:, 0], qkv[:, 1], qkv[:, 2]  # [N, heads, channels of a head]
        attention = softmax(torch.einsum("nhc,mhc->hnm", q, k) * (g.dim // g.heads) ** -0.5)
        x = x + linear(torch.einsum("hnm,mhc->nhc", attention, v).reshape(len(x), g.dim), f"{b}.attn.proj")
        h = norm(x, f"{b}.norm2")
        if f"{b}.mlp.fc1.weight" in s:
            x = x + linear(gelu(linear(h, f"{b}.mlp.fc1")), f"{b}.mlp.fc2")
            outputs.append(x)
            continue
        gate_input, gate = h, f"{b}.mlp.gate.{task}.w_gate"
        if f"{b}.mlp.gate.w_gate" in s:
            gate = f"{b}.mlp.gate.w_gate"
            if "gate_task_represent.fc1.weight" in s:
                one_hot = torch.eye(g.tasks, dtype=torch.float64)[task]
                embedding = linear(gelu(linear(one_hot, "gate_task_represent.fc1")), "gate_task_represent.fc2")
                embedding = norm(embedding, "gate_task_represent.norm")
                gate_input = torch.cat((h, embedding.expand(len(h), -1)), dim=1)
        logits = torch.einsum("ni,ie->ne", gate_input, s[gate])
        scores = torch.zeros_like(logits)  # [N, experts], zero for those that are not chosen
        best = logits.topk(g.top_k, dim=1)
        if noisy:
            scores.scatter_(1, best.indices, softmax(best.values))
        else:
            scores.scatter_(1, best.indices, softmax(logits).gather(1, best.indices))
        # Every expert on every token, weighted: no queues, nothing to get wrong in dispatching.
        for e in range(logits.shape[1]):
            up, down = f"{b}.mlp.experts.htoh4", f"{b}.mlp.experts.h4toh"
            y = gelu(torch.einsum("ni,oi->no", h, s[f"{up}.weight"][e]) + s[f"{up}.bias"][e])
            y = torch.einsum("ni,oi->no", y, s[f"{down}.weight"][e]) + s[f"{down}.bias"][e]
            x = x + scores[:, e, None] * y
        outputs.append(x)
    return outputs


def cut_to(state: dict[str, torch.Tensor], block: int, *, hidden: int, experts: int = 0) -> dict[str, torch.Tensor]:
    """The state dict with a narrower MLP in one block, or fewer and narrower experts there: a pruned network."""
    layer, result = f"blocks.{block}.mlp.", dict(state)
    rows, columns = (slice(hidden), ...), (..., slice(hidden))
    if not experts:
        cuts = {"fc1.weight": rows, "fc1.bias": rows, "fc2.weight": columns}
    else:
        some = slice(experts)
        cuts = {
            "experts.htoh4.weight": (some, *rows),
            "experts.htoh4.bias": (some, *rows),
            "experts.h4toh.weight": (some, *columns),
            "experts.h4toh.bias": (some,),
        }
        cuts |= {name.removeprefix(layer): (..., some) for name in state if name.startswith(f"{layer}gate.")}
    return result | {layer + name: state[layer + name][cut].clone() for name, cut in cuts.items()}
