"""Vision transformers with something that is not supported, and what is said of it."""

import operators
import torch
import torch.nn.functional as F
import zoo
from torch import nn
from zoo import DIM, HEADS


class Normalised(nn.Module):
    """BatchNorm over channels, inside an MLP."""

    def __init__(self):
        super().__init__()
        self.mlp, self.batch = zoo.Mlp(DIM), nn.BatchNorm1d(DIM)

    def forward(self, x):
        return self.mlp(self.batch(x.mT).mT)


class Dropped(zoo.Mlp):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.1)


class LowRank(zoo.Mlp):
    def forward(self, x):
        return self.down(self.up(x))


class Biased(zoo.Fused):
    """A position bias on the scores."""

    def __init__(self, dim, heads, fused):
        super().__init__(dim, heads)
        self.fused, self.table = fused, nn.Parameter(torch.empty(heads, zoo.PATCHES + 1, zoo.PATCHES + 1))

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.table)
        else:
            y = (q @ k.mT * 0.25 + self.table).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).flatten(2))


class NormedQueries(zoo.Fused):
    def __init__(self, dim, heads):
        super().__init__(dim, heads)
        self.q_norm = nn.LayerNorm(dim // heads)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(self.q_norm(q), k, v)
        return self.proj(y.transpose(1, 2).flatten(2))


class Causal(zoo.Fused):
    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.transpose(1, 2).flatten(2))


class Quadratic(zoo.Fused):
    """Attention without softmax."""

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj((q @ k.mT @ v).transpose(1, 2).flatten(2))


class PostNorm(zoo.Block):
    def forward(self, x):
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.mlp(x))


class Parallel(zoo.Block):
    def forward(self, x):
        y = self.norm1(x)
        return x + self.attention(y) + self.mlp(y)


class Summed(zoo.Block):
    def forward(self, x):
        y = self.norm1(x)
        return x + (self.attention(y) + self.mlp(y))


class NormAfter(zoo.Block):
    def forward(self, x):
        x = x + self.norm1(self.attention(x))
        return x + self.norm2(self.mlp(x))


class Rotary(zoo.Fused):
    """q and k turned by angles of their places."""

    def __init__(self, first):
        super().__init__(DIM, HEADS)
        self.first = first

    def rotate(self, x):
        angle = torch.arange(x.shape[2])[:, None] * torch.tensor([1.0, 0.1, 0.01, 0.5] * (x.shape[3] // 4))
        cos, sin = angle.cos(), angle.sin()
        half = x.shape[-1] // 2
        turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
        return turned * sin + x * cos if self.first else x * cos + turned * sin

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v)
        return self.proj(y.transpose(1, 2).flatten(2))


class Complex(Rotary):
    def __init__(self):
        super().__init__(False)

    def rotate(self, x):
        angle = torch.arange(x.shape[2])[:, None] * torch.ones(x.shape[3] // 2)
        turned = torch.view_as_complex(x.unflatten(-1, (-1, 2))) * torch.polar(torch.ones_like(angle), angle)
        return torch.view_as_real(turned).flatten(3)


class Windows(zoo.Fused):
    """Tokens see those of their own half of the image."""

    def __init__(self):
        super().__init__(DIM, HEADS)

    def forward(self, x):
        return super().forward(x.unflatten(1, (2, -1)).flatten(0, 1)).unflatten(0, (1, 2)).flatten(1, 2)


class Masked(zoo.Fused):
    def __init__(self):
        super().__init__(DIM, HEADS)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        y = (q @ k.mT * 0.25).masked_fill(mask, -torch.inf).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).flatten(2))


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, DIM, 8, 8)

    def forward(self, x):
        return self.b(self.a(x)).flatten(2).mT


class Overlapping(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, DIM, 8, stride=4)

    def forward(self, x):
        return self.a(x).flatten(2).mT


class NormedEmbedding(zoo.Conv):
    """Two norms of the patches in a row."""

    def __init__(self):
        super().__init__()
        self.norm, self.other = nn.LayerNorm(DIM), nn.LayerNorm(DIM)

    def forward(self, x):
        return self.other(self.norm(super().forward(x)))


class Branching(zoo.Mlp):
    """Control flow that depends on the image."""

    def forward(self, x):
        if x.mean() > 0:
            return super().forward(x)
        return super().forward(-x)


def blocks(kind):
    return zoo.seeded(
        zoo.Vit(zoo.Conv(), nn.Sequential(*(kind(zoo.Fused(DIM, HEADS), zoo.Mlp(DIM)) for _ in range(2))))
    )


# name: (model, words that the text must have, source text of the line it must name; "" for torch's own modules)
CASES = {
    "BatchNorm": (lambda: zoo.vit(mlp=Normalised), ["batch_norm", "nn.LayerNorm"], "self.batch(x.mT)"),
    "norm inside an MLP": (
        lambda: zoo.vit(mlp=operators.NormInside),
        ["LayerNorm of", "inside an MLP", "none inside an MLP"],
        "self.norm(F.silu",
    ),
    "no activation of the gate": (
        lambda: zoo.vit(mlp=lambda: operators.Separate(nn.Identity())),
        ["two linear layers (a gate without activation)", "gated MLP"],
        "gate * value",
    ),
    "a gate of tanh": (lambda: zoo.vit(mlp=lambda: operators.Separate(torch.tanh)), ["not tanh", "or sigmoid"], ""),
    "rotary embedding": (
        lambda: zoo.vit(lambda: Rotary(False)),
        ["a rotary embedding", "positions, added once"],
        "self.rotate(q)",
    ),
    "rotary embedding, the turned half first": (
        lambda: zoo.vit(lambda: Rotary(True)),
        ["a rotary embedding", "positions, added once"],
        "self.rotate(q)",
    ),
    "rotary embedding by complex numbers": (
        lambda: zoo.vit(Complex),
        ["a rotary embedding", "positions, added once"],
        "self.rotate(q)",
    ),
    "window attention": (lambda: zoo.vit(Windows, embed=zoo.Conv(learnt=0)), ["window attention", "every token"], ""),
    "a mask filled in": (lambda: zoo.vit(Masked), ["attention with a mask", "no mask"], "masked_fill"),
    "norm after attention": (
        lambda: blocks(NormAfter),
        ["LayerNorm of what attention returns (post-norm)", "before attention"],
        "self.norm1(self.attention",
    ),
    "a sum of halves": (lambda: blocks(Summed), ["a parallel block", "one after the other"], "self.attention(y) + "),
    "active dropout": (
        lambda: zoo.vit(mlp=lambda: Dropped(DIM)),
        ["dropout", "training=self.training"],
        "F.dropout(super()",
    ),
    "two linears": (
        lambda: zoo.vit(mlp=lambda: LowRank(DIM)),
        ["second layer of an MLP", "pre-norm"],
        "self.down(self.up(x))",
    ),
    "position bias": (
        lambda: zoo.vit(lambda: Biased(DIM, HEADS, False)),
        ["relative position bias"],
        "+ self.table).softmax",
    ),
    "fused position bias": (
        lambda: zoo.vit(lambda: Biased(DIM, HEADS, True)),
        ["position bias"],
        "attn_mask=self.table",
    ),
    "norm of queries": (lambda: zoo.vit(lambda: NormedQueries(DIM, HEADS)), ["none of q, k or v"], "self.q_norm(q)"),
    "causal": (lambda: zoo.vit(lambda: Causal(DIM, HEADS)), ["causal"], "is_causal=True"),
    "no softmax": (lambda: zoo.vit(lambda: Quadratic(DIM, HEADS)), ["without softmax"], "q @ k.mT @ v"),
    "post-norm": (
        lambda: blocks(PostNorm),
        ["without a norm before it (as in a post-norm block)", "norm_first=True"],
        "self.qkv(x)",
    ),
    "torch's post-norm": (
        lambda: zoo.encoder(norm_first=False),
        ["without a norm before it (as in a post-norm block)", "norm_first=True"],
        "self.blocks(self.embed",
    ),
    "parallel": (lambda: blocks(Parallel), ["a parallel block", "pre-norm"], "y = self.norm1(x)"),
    "convolution stem": (lambda: zoo.vit(embed=Stem()), ["nn.Conv2d(channels, dim"], "self.b(self.a(x))"),
    "overlapping patches": (lambda: zoo.vit(embed=Overlapping()), ["do not overlap"], "self.a(x).flatten"),
    "normed embedding": (
        lambda: zoo.vit(embed=NormedEmbedding()),
        ["residual stream", "the embedded tokens behind two norms of their own"],
        "",
    ),
    "control flow": (lambda: zoo.vit(mlp=lambda: Branching(DIM)), ["must not depend on the image"], "if x.mean() > 0"),
    **{
        f"activation: {name}": (
            lambda function=function: zoo.vit(mlp=lambda: zoo.Mlp(DIM, zoo.Activation(function))),
            [words, "GELU, GELU by tanh, ReLU, squared ReLU, SiLU or quick GELU"],
            "",
        )
        for name, (function, words) in operators.NO_ACTIVATIONS.items()
    },
    "mirrored": (
        lambda: zoo.vit(embed=zoo.Turned(lambda x: x.flip(3))),
        ["a part of the image"],
        "x = self.proj(x).flatten(2)",
    ),
    "no transformer": (
        lambda: zoo.seeded(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))),
        ["vision transformer"],
        "",
    ),
}
