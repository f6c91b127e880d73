"""What recognised blocks compute, from their canonical parameters alone, in float64: an arithmetic of its own."""

import torch
import torch.nn.functional as F
import zoo
from torch import nn
from torch.utils import _pytree as pytree

from moesaic.golden.frontend.meaning import Block, Embed, Norm
from moesaic.golden.frontend.prepare import prepare
from moesaic.golden.frontend.recognise import Recognised, recognise

ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": lambda x: x.clamp_min(0),
    "relu2": lambda x: x.clamp_min(0) ** 2,
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "quick_gelu": lambda x: x / (1 + torch.exp(-1.702 * x)),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
}


def embedded(embed: Embed, image: torch.Tensor) -> torch.Tensor:
    """[tokens, dim] from an image [1, channels, H, W]."""
    patches, group = embed.linear.source, embed.linear.groups[0]
    (height, width), (down, across) = patches.size, patches.grid
    pixels = image[0].double() * patches.pixels.scale.view(-1, 1, 1) + patches.pixels.offset.view(-1, 1, 1)
    cut = pixels.view(-1, down, height, across, width).permute(1, 3, 0, 2, 4).reshape(down * across, -1)
    tokens = embed.table.clone()
    tokens[embed.learnt :] += cut @ group.weight.double().T + group.bias.double()
    return tokens


def normed(norm: Norm, x: torch.Tensor) -> torch.Tensor:
    if norm.kind == "layernorm":
        x = x - x.mean(-1, keepdim=True)
    x = x / ((x * x).mean(-1, keepdim=True) + norm.eps).sqrt()
    return x * norm.weight.double() + norm.bias.double()


def attention(block: Block, x: torch.Tensor) -> torch.Tensor:
    heads, width = block.facts["heads"], block.facts["head_dim"]
    assert block.parameters["attn.qkv.weight"].shape == (3 * heads * width, x.shape[1])
    qkv = x @ block.parameters["attn.qkv.weight"].double().T + block.parameters["attn.qkv.bias"].double()
    q, k, v = qkv.view(len(x), 3, heads, width).permute(1, 2, 0, 3)
    y = ((q @ k.mT) / width**0.5).softmax(-1) @ v
    y = y.transpose(0, 1).reshape(len(x), heads * width)
    return y @ block.parameters["attn.proj.weight"].double().T + block.parameters["attn.proj.bias"].double()


def mlp(block: Block, x: torch.Tensor, up: str, gate: str, down: str, expert: int | None = None) -> torch.Tensor:
    def layer(key: str, y: torch.Tensor) -> torch.Tensor:
        weight, bias = (block.parameters[f"mlp.{key}.{part}"].double() for part in ("weight", "bias"))
        if expert is not None:
            weight, bias = weight[expert], bias[expert]
        return y @ weight.T + bias

    activation = ACTIVATIONS[block.facts["hidden"]["activation"]]
    hidden = layer(up, x) * activation(layer(gate, x)) if block.facts["hidden"]["gated"] else activation(layer(up, x))
    return layer(down, hidden)


def mixture(block: Block, x: torch.Tensor) -> torch.Tensor:
    logits = x @ block.parameters["gate.weight"].double() + block.parameters["gate.bias"].double()
    k = block.facts["top_k"]
    if block.facts["gate_kind"] == "noisy_vmoe":
        scores, index = logits.softmax(-1).topk(k)
    else:
        scores, index = logits.topk(k)
        scores = scores.softmax(-1)
    table = torch.zeros_like(logits).scatter(-1, index, scores)
    each = [
        mlp(block, x, "experts.htoh4", "experts.gate_proj", "experts.h4toh", e) for e in range(block.facts["experts"])
    ]
    return sum(table[:, e, None] * y for e, y in enumerate(each))


def tokens_of(recognised: Recognised, image: torch.Tensor) -> torch.Tensor:
    """The last block's tokens [tokens, dim]."""
    x = embedded(recognised.embed, image)
    for residual in recognised.residuals:
        block = residual.block
        y = normed(block.norm, x)
        if block.kind == "attention":
            x = x + attention(block, y)
        elif block.kind == "mlp":
            x = x + mlp(block, y, "fc1", "gate_proj", "fc2")
        else:
            x = x + mixture(block, y)
    return x


def recognised(
    module: nn.Module, channels: int = 3, size: tuple[int, int] = (zoo.SIDE, zoo.SIDE), within: float = 1e-9
) -> Recognised:
    """What a module is, once it was seen to be that: its canonical parameters give its outputs `within` that."""
    image = torch.rand(1, channels, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = recognise(prepare(module)[0], image.float())
    module = module.double()
    with torch.no_grad():
        torch.set_default_dtype(torch.float64)
        try:
            wanted = pytree.tree_leaves(module(image))[found.head.outputs[0]]
        finally:
            torch.set_default_dtype(torch.float32)
        got = found.head.double()(tokens_of(found, image))[0]
    assert got.shape == wanted.shape
    assert float((got - wanted).abs().max()) <= within * float(wanted.abs().max())
    return found
