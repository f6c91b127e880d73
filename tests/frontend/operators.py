"""Operators of today's vision transformers, as torch, timm, transformers and papers spell them."""

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
import zoo
from mixtures import EXPERTS, HIDDEN, Loop, Recipe
from torch import nn
from zoo import DIM, HEADS

Function = Callable[[torch.Tensor], torch.Tensor]

ACTIVATIONS: Mapping[str, tuple[str, Function]] = {  # spelling -> (name, function)
    **{f"GELU, {name}": ("gelu", function) for name, function in zoo.GELUS.items()},
    **{
        f"GELU, {name}": ("gelu_tanh", zoo.GELUS[name])
        for name in ("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "a logistic")
    },
    "F.relu": ("relu", F.relu),
    "nn.ReLU": ("relu", nn.ReLU()),
    "nn.ReLU in place": ("relu", nn.ReLU(inplace=True)),
    "clamp": ("relu", lambda x: x.clamp(min=0)),
    "clamp_min": ("relu", lambda x: x.clamp_min(0)),
    "maximum": ("relu", lambda x: torch.maximum(x, torch.zeros(()))),
    "half of x + |x|": ("relu", lambda x: 0.5 * (x + x.abs())),
    "threshold": ("relu", nn.Threshold(0.0, 0.0)),
    "torch.relu(x) ** 2": ("relu2", lambda x: torch.relu(x) ** 2),
    "torch.square(F.relu(x))": ("relu2", lambda x: torch.square(F.relu(x))),
    "F.relu(x) * F.relu(x)": ("relu2", lambda x: F.relu(x) * F.relu(x)),
    "x * F.relu(x)": ("relu2", lambda x: x * F.relu(x)),
    "F.silu": ("silu", F.silu),
    "nn.SiLU": ("silu", nn.SiLU()),
    "x * sigmoid(x)": ("silu", lambda x: x * torch.sigmoid(x)),
    "x / (1 + exp(-x))": ("silu", lambda x: x / (1 + torch.exp(-x))),
    "x * sigmoid(1.702 x)": ("quick_gelu", lambda x: x * torch.sigmoid(1.702 * x)),
    "sigmoid(1.702 x) * x": ("quick_gelu", lambda x: (1.702 * x).sigmoid() * x),
}
NO_ACTIVATIONS: Mapping[str, tuple[Function, str]] = {
    "rough GELU": (lambda x: 0.5 * x * (1 + torch.tanh(0.79 * (x + 0.044715 * x**3))), "none of the known ones"),
    "rough quick GELU": (lambda x: x * torch.sigmoid(1.7 * x), "none of the known ones"),
    "tanh": (torch.tanh, "not tanh"),
    "square": (lambda x: x * x, "not the square"),
    "sigmoid": (torch.sigmoid, "not sigmoid"),
    "hardswish": (nn.Hardswish(), "not hardswish"),
    "hardswish written out": (lambda x: x * F.relu6(x + 3) / 6, "not hardswish"),
    "mish": (nn.Mish(), "not mish"),
    "leaky ReLU": (nn.LeakyReLU(), "not leaky ReLU"),
    "ELU": (nn.ELU(), "not ELU"),
    "softplus": (nn.Softplus(), "not softplus"),
    "ReLU6": (nn.ReLU6(), "not ReLU6"),
}


class Separate(nn.Module):
    """Three linear layers, as timm's SwiGLU: fc2(act(fc1_g(x)) * fc1_x(x))."""

    def __init__(self, act: Function = F.silu, bias: bool = True, turned: bool = False) -> None:
        super().__init__()
        self.fc1_g, self.fc1_x = nn.Linear(DIM, 48, bias=bias), nn.Linear(DIM, 48, bias=bias)
        self.fc2, self.act, self.turned = nn.Linear(48, DIM, bias=bias), act, turned

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, value = self.act(self.fc1_g(x)), self.fc1_x(x)
        return self.fc2(value * gate if self.turned else gate * value)


class Packed(nn.Module):
    """One first matrix in halves, as timm's GluMlp (gate last) and SwiGLUPacked (gate first)."""

    def __init__(self, act: Function = torch.sigmoid, gate_last: bool = True, bias: bool = True) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(DIM, 96, bias=bias), nn.Linear(48, DIM, bias=bias)
        self.act, self.gate_last, self.drop = act, gate_last, nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x1, x2 = self.fc1(x).chunk(2, dim=-1)
        x = x1 * self.act(x2) if self.gate_last else self.act(x1) * x2
        return self.drop(self.fc2(self.drop(x)))


class Glu(Packed):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.glu(self.fc1(x), dim=-1))


class Interleaved(Packed):
    """Values and gates take turns."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = self.fc1(x).unflatten(-1, (-1, 2)).unbind(-1)
        return self.fc2(value * F.silu(gate))


class FoldedGate(Packed):
    """A gate written out on its half alone: its scale is the activation's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = self.fc1(x).split(48, dim=-1)
        return self.fc2(value * (gate * torch.sigmoid(1.702 * gate)))


class NormInside(Separate):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(48)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.norm(F.silu(self.fc1_g(x)) * self.fc1_x(x)))


GATED: Mapping[str, tuple[str, Callable[[], nn.Module]]] = {
    "timm's SwiGLU": ("silu", Separate),
    "SwiGLU without biases": ("silu", lambda: Separate(bias=False)),
    "GEGLU, gate second": ("gelu", lambda: Separate(F.gelu, turned=True)),
    "GEGLU by tanh": ("gelu_tanh", lambda: Separate(nn.GELU("tanh"))),
    "ReGLU": ("relu", lambda: Separate(F.relu)),
    "ReGLU squared": ("relu2", lambda: Separate(lambda x: F.relu(x) ** 2)),
    "SwiGLU written out": ("silu", lambda: Separate(lambda x: x * torch.sigmoid(x))),
    "timm's GluMlp": ("sigmoid", Packed),
    "timm's SwiGLUPacked": ("silu", lambda: Packed(F.silu, gate_last=False)),
    "timm's GeGluMlp": ("gelu_tanh", lambda: Packed(nn.GELU("tanh"), bias=False)),
    "F.glu": ("sigmoid", Glu),
    "halves interleaved": ("silu", Interleaved),
    "quick GELU of a half": ("quick_gelu", FoldedGate),
}


class GatedLoop(Loop):
    """A loop over gated experts."""

    def __init__(self, act: Function = F.silu) -> None:
        super().__init__()
        self.each = nn.ModuleList(Packed(act, gate_last=False) for _ in range(EXPERTS))


class GatedRecipe(Recipe):
    """Batched gated experts: one einsum for values and gates of all of them."""

    def __init__(self, act: Function = F.gelu) -> None:
        super().__init__()
        self.act = act
        self.w1 = nn.Parameter(torch.empty(EXPERTS, 2 * HIDDEN, DIM))
        self.b1 = nn.Parameter(torch.empty(EXPERTS, 2 * HIDDEN))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, value = (torch.einsum("bnd,ehd->bneh", x, self.w1) + self.b1).chunk(2, -1)
        out = torch.einsum("bneh,edh->bned", self.act(gate) * value, self.w2) + self.b2
        return (out * self.table(x)[..., None]).sum(2)


class GatedProducts(Recipe):
    """Batched gated experts by bmm, values and gates in weights of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.w3 = nn.Parameter(torch.empty(EXPERTS, HIDDEN, DIM))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table, every = self.table(x)[0], x[0].expand(self.experts, -1, -1)
        hidden = F.silu(torch.bmm(every, self.w1.mT) + self.b1[:, None]) * torch.bmm(every, self.w3.mT)
        out = torch.bmm(hidden, self.w2.mT) + self.b2[:, None]
        return torch.einsum("ned,ne->nd", out.transpose(0, 1), table)[None]


class ReluRecipe(Recipe):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(torch.einsum("bnd,ehd->bneh", x, self.w1) + self.b1).square()
        out = torch.einsum("bneh,edh->bned", hidden, self.w2) + self.b2
        return (out * self.table(x)[..., None]).sum(2)


MIXTURES: Mapping[str, tuple[str, bool, Callable[[], nn.Module]]] = {
    "loop over SwiGLU": ("silu", True, GatedLoop),
    "loop over ReGLU": ("relu", True, lambda: GatedLoop(F.relu)),
    "einsum, GEGLU": ("gelu", True, GatedRecipe),
    "einsum, GLU": ("sigmoid", True, lambda: GatedRecipe(torch.sigmoid)),
    "bmm, SwiGLU": ("silu", True, GatedProducts),
    "einsum, squared ReLU": ("relu2", False, ReluRecipe),
}


class LlamaNorm(nn.Module):
    """transformers' spelling."""

    def __init__(self, dim: int = DIM, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.ones(dim)), eps

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        input_dtype = hidden_states.dtype
        hidden_states = hidden_states.to(torch.promote_types(torch.float32, input_dtype))
        variance = hidden_states.pow(2).mean(-1, keepdim=True)
        hidden_states = hidden_states * torch.rsqrt(variance + self.variance_epsilon)
        return self.weight * hidden_states.to(input_dtype)


class Spelled(nn.Module):
    """RMSNorm as a function of the tokens, a gain and eps."""

    def __init__(self, function: Callable[..., torch.Tensor], eps: float = 1e-5) -> None:
        super().__init__()
        self.gain_norm, self.function, self.eps = nn.Parameter(torch.ones(DIM)), function, eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, self.gain_norm, self.eps)


RMS_NORMS: Mapping[str, tuple[float, Callable[[], nn.Module]]] = {
    "nn.RMSNorm": (1e-5, lambda: nn.RMSNorm(DIM, eps=1e-5)),
    "nn.RMSNorm without gain": (1e-3, lambda: nn.RMSNorm(DIM, eps=1e-3, elementwise_affine=False)),
    "transformers'": (1e-6, LlamaNorm),
    "over the root": (
        1e-5,
        lambda: Spelled(lambda x, w, eps: x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * w),
    ),
    "Gemma's": (
        1e-5,
        lambda: Spelled(lambda x, w, eps: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * (1.0 + w)),
    ),
    "a sum, a power": (
        1e-5,
        lambda: Spelled(lambda x, w, eps: w * (x * ((x**2).sum(-1, keepdim=True) / x.shape[-1] + eps) ** -0.5)),
    ),
    "a length": (0.0, lambda: Spelled(lambda x, w, eps: x / (x.norm(dim=-1, keepdim=True) * x.shape[-1] ** -0.5) * w)),
    "a length times the root": (
        0.0,
        lambda: Spelled(lambda x, w, eps: x / x.norm(dim=-1, keepdim=True) * math.sqrt(DIM) * w),
    ),
    "with an offset": (
        1e-5,
        lambda: Spelled(lambda x, w, eps: F.rms_norm(x, x.shape[-1:], w, eps) + w.flip(0)),
    ),
}


class RmsBlock(zoo.Block):
    def __init__(self, make: Callable[[], nn.Module], attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__(attention, mlp)
        self.norm1, self.norm2 = make(), make()


class Inner(zoo.Fused):
    """Heads of a width of their own."""

    def __init__(self, heads: int, head_dim: int, scale: float | None = None) -> None:
        super().__init__(DIM, heads)
        self.scale = scale
        self.qkv, self.proj = nn.Linear(DIM, 3 * heads * head_dim), nn.Linear(heads * head_dim, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v, scale=self.scale).transpose(1, 2).flatten(2))


class Unprojected(zoo.Fused):
    """The heads' outputs are added as they are, perhaps in another order."""

    def __init__(self, turned: bool = False) -> None:
        super().__init__(DIM, HEADS)
        self.proj, self.turned = nn.Identity(), turned

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y.flip(-1) if self.turned else y


class SharedKeys(nn.Module):
    """Multi-query attention: one key and one value head for all queries."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.kv, self.proj = nn.Linear(DIM, DIM), nn.Linear(DIM, 2 * DIM // HEADS), nn.Linear(DIM, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.q(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        k, v = (t[:, None].expand(-1, HEADS, -1, -1) for t in self.kv(x).chunk(2, -1))
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Half(nn.Module):
    """x + f(norm(x))."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(DIM), inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(self.norm(x))


class Cut(nn.Module):
    """Patches of any size from an image of any channels: a convolution, or a linear layer of unfolded patches."""

    def __init__(self, channels: int, size: tuple[int, int], linear: bool = False) -> None:
        super().__init__()
        self.size, self.linear = size, linear
        self.proj = nn.Linear(channels * size[0] * size[1], DIM) if linear else nn.Conv2d(channels, DIM, size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.linear:
            return self.proj(x).flatten(2).mT
        x = x.unflatten(3, (-1, self.size[1])).unflatten(2, (-1, self.size[0]))  # [1, C, down, h, across, w]
        return self.proj(x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2))


class PoolingHead(nn.Module):
    """SigLIP's: attention from a learnt query to all tokens, then an MLP of what it returns."""

    def __init__(self, queries: int = 1) -> None:
        super().__init__()
        self.probe, self.attention = (
            nn.Parameter(torch.zeros(1, queries, DIM)),
            nn.MultiheadAttention(DIM, HEADS, batch_first=True),
        )
        self.norm, self.mlp = nn.LayerNorm(DIM), zoo.Mlp(DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.attention(self.probe.expand(len(x), -1, -1), x, x, need_weights=False)[0]
        return y + self.mlp(self.norm(y))


class ClassAttention(nn.Module):
    """CaiT's: the first token alone asks all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.q, self.kv, self.proj = (
            nn.LayerNorm(DIM),
            nn.Linear(DIM, DIM),
            nn.Linear(DIM, 2 * DIM),
            nn.Linear(DIM, DIM),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        q = self.q(y[:, :1]).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in self.kv(y).chunk(2, -1))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x[:, :1] + self.proj(y)
