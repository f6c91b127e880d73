"""Random small modules for the front end: each is captured, or refused in one line.

`python tests/frontend/random_modules.py 1000` tries the first thousand and says what became of them.
"""

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from moesaic.errors import MoesaicError
from moesaic.golden.frontend.capture import Captured, capture
from moesaic.golden.frontend.refusal import FAILURES, UNFORESEEN

DIM, HEADS, SIDE, PATCH = 16, 2, 8, 4
Change = Callable[[torch.Tensor], torch.Tensor]

# What somebody may write anywhere; most of it is not supported, none of it may fail.
ANYWHERE: list[Change] = [
    lambda x: x,
    lambda x: x + 1,
    lambda x: 1 - x,
    lambda x: x * 0,
    lambda x: x * torch.arange(1.0, x.shape[-1] + 1),
    lambda x: x / x.norm(dim=-1, keepdim=True),
    lambda x: x - x.mean(-1, keepdim=True),
    lambda x: x**2,
    lambda x: 2.0**x,
    lambda x: x % 1,
    lambda x: x // 0.5,
    lambda x: -x,
    lambda x: 1 / (1 + x * x),
    lambda x: x.abs().sqrt(),
    lambda x: x.clamp(-1, 1),
    lambda x: x.relu_(),
    lambda x: x.add_(1),
    lambda x: x.softmax(-1),
    lambda x: x.cumsum(1),
    lambda x: x.sort(-1).values,
    lambda x: x.flip(-1),
    lambda x: x.roll(1, 1),
    lambda x: x[..., torch.randperm(x.shape[-1], generator=torch.Generator().manual_seed(0))],
    lambda x: x.repeat_interleave(2, -1)[..., ::2],
    lambda x: x.half().float(),
    lambda x: x.double().float(),
    lambda x: x.to(torch.complex64).real,
    lambda x: torch.fft.fft(x, dim=-1).real,
    lambda x: torch.where(x > 0, x, 0.1 * x),
    lambda x: x.masked_fill(x < 0, 0),
    lambda x: x if x.sum() > 0 else -x,
    lambda x: x + torch.rand_like(x),
    lambda x: F.dropout(x, 0.5, training=True),
    lambda x: F.layer_norm(x, x.shape[-1:]),
    lambda x: F.normalize(x, dim=-1),
    lambda x: torch.einsum("...i->...i", x),
    lambda x: torch.einsum("bi...,bj...->bij", x, x).sum(-1, keepdim=True) + x if x.ndim == 3 else x,
    lambda x: torch.cat((x, x), 1)[:, : x.shape[1]],
    lambda x: torch.stack((x, x)).sum(0),
    lambda x: torch.stack((x, x)).mean(0),
    lambda x: x @ torch.eye(x.shape[-1]),
    lambda x: x.mT.contiguous().mT,
    lambda x: x.unsqueeze(0).squeeze(0),
    lambda x: x.as_strided(x.shape, x.stride()),
    lambda x: x.detach().clone(),
    lambda x: x.to(memory_format=torch.contiguous_format),
    lambda x: torch.tensor(x.tolist()),
    lambda x: x.new_tensor(x.numpy()),
    lambda x: x.unfold(-1, 2, 1).sum(-1).repeat(1, 1, 2)[..., : x.shape[-1]] if x.ndim == 3 else x,
    lambda x: x[:, torch.tensor([0] * x.shape[1])],
    lambda x: x[x[:, 0, 0] > 0] if x.ndim == 3 else x,
    lambda x: x.expand(2, *x.shape[1:])[:1],
    lambda x: x.reshape(-1)[torch.arange(x.numel())].view(x.shape),
    lambda x: torch.nan_to_num(x / 0),
    lambda x: x.scatter(-1, torch.zeros_like(x, dtype=torch.long), 1.0),
    lambda x: x.quantile(0.5) + x,
    lambda x: x.bool().float(),
    lambda x: (x * 255).to(torch.uint8) / 255,
    lambda x: F.pad(x, (1, 1))[..., 1:-1],
    lambda x: torch.addcmul(x, x, x, value=0.1),
    lambda x: torch.lerp(x, x.flip(-1), 0.5),
    lambda x: torch.max(x, -x),
    lambda x: x.sum() * torch.ones_like(x),
    lambda x: x.tanh() + x,
    lambda x: F.gelu(F.gelu(x)),
    lambda x: F.gelu(x) * x,
    lambda x: x.sigmoid() * x,
    lambda x: x.exp().log(),
    lambda x: 1 / x.erf(),
    lambda x: torch.nn.utils.rnn.pack_sequence([x[0]]).data[None],
    lambda x: {"x": x}["x"],
    lambda x: F.max_pool1d(x, 1),
]
ACTIVATIONS: list[Change] = [
    *[F.gelu] * 20,
    lambda x: F.gelu(x, approximate="tanh"),
    lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    lambda x: x * torch.sigmoid(1.702 * x),
    F.relu,
    F.silu,
    torch.tanh,
    lambda x: x,
    lambda x: F.softplus(x, 2.0),
    lambda x: x.chunk(2, -1)[0].repeat(1, 1, 2),
]
PIXELS: list[Change] = [
    *[lambda x: x] * 5,
    lambda x: (x - 0.5) / 0.2,
    lambda x: x.sub_(0.4),
    lambda x: x[:, [2, 1, 0]],
]
OUTPUTS: list[Callable[[torch.Tensor], Any]] = [
    lambda y: y,
    lambda y: (y, y[:, 0]),
    lambda y: {"a": y, "b": {"c": [y.mean(1), None]}},
    lambda y: y[:, 0] > 0,
    lambda y: (y[:, :0], y),
    lambda y: y.argmax(-1),
    lambda y: y.mean(1).masked_fill(torch.arange(y.shape[-1]) == 0, -torch.inf),
    lambda y: y.mean(1).log(),
    lambda y: y.sum(),
    lambda y: (),
    lambda y: None,
    lambda y: y.shape,
    lambda y: torch.zeros(3),
    lambda y: (y, 3, "text", torch.ones(2)),
    lambda y: y.to(torch.complex64) * 1j,
    lambda y: y.half(),
    lambda y: y.topk(2),
    lambda y: y[:, 0].nonzero(),
    lambda y: y.tolist(),
    lambda y: y.numpy(),
    lambda y: (y.mean((0, 1)) * 1e30).to(torch.int32),
    lambda y: y.to_sparse(),
]


def pick(rng: np.random.Generator, choices: list[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]


def seldom(rng: np.random.Generator, change: Change, chance: float = 0.04) -> Change:
    return change if rng.random() < chance else lambda x: x


class Attention(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.heads = pick(rng, [HEADS, HEADS, 1, 4])
        self.qkv, self.proj = nn.Linear(DIM, 3 * DIM, bias=rng.random() < 0.8), nn.Linear(DIM, DIM)
        self.scale = pick(rng, [*[None] * 8, 0.1, -1.0, 0.0, 1e30])
        self.fused, self.causal = rng.random() < 0.5, rng.random() < 0.05
        self.between, self.scores = seldom(rng, pick(rng, ANYWHERE)), seldom(rng, pick(rng, ANYWHERE), 0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.between(self.qkv(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, scale=self.scale, is_causal=self.causal)
        else:
            scale = (DIM // self.heads) ** -0.5 if self.scale is None else self.scale
            y = self.scores(q @ k.mT * scale).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        hidden = int(pick(rng, [DIM, 2 * DIM, 20, 1]))
        self.up, self.down = nn.Linear(DIM, hidden), nn.Linear(hidden, DIM, bias=rng.random() < 0.8)
        self.act, self.after = pick(rng, ACTIVATIONS), seldom(rng, pick(rng, ANYWHERE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.down(self.act(self.up(x))))


class Block(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        eps = pick(rng, [1e-5, 1e-6, 0.0, 1.0])
        self.norm1, self.norm2 = nn.LayerNorm(DIM, eps=eps), nn.LayerNorm(DIM, eps=eps)
        self.attention, self.mlp = Attention(rng), Mlp(rng)
        self.gamma = nn.Parameter(torch.full((DIM,), 0.5)) if rng.random() < 0.3 else None
        self.order = pick(rng, ["pre"] * 40 + ["post", "parallel", "mlp first", "no norm"])
        self.between = seldom(rng, pick(rng, ANYWHERE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gamma = 1 if self.gamma is None else self.gamma
        if self.order == "post":
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.mlp(x))
        if self.order == "parallel":
            return x + self.attention(self.norm1(x)) + self.mlp(self.norm2(x))
        if self.order == "mlp first":
            x = x + self.mlp(self.norm2(x))
            return x + self.attention(self.norm1(x))
        if self.order == "no norm":
            x = x + self.attention(x)
            return x + self.mlp(x)
        x = self.between(x + gamma * self.attention(self.norm1(x)))
        return x + self.mlp(self.norm2(x)) * gamma


class Model(nn.Module):
    """Embedding, blocks, a head and outputs of any sort."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        patch = int(pick(rng, [PATCH, PATCH, PATCH, 2, SIDE]))
        self.patch = nn.Conv2d(3, DIM, patch, patch, bias=rng.random() < 0.8)
        tokens, learnt = (SIDE // patch) ** 2, int(pick(rng, [0, 1, 1, 3]))
        self.learnt = nn.Parameter(torch.randn(1, learnt, DIM)) if learnt else None
        self.pos = nn.Parameter(torch.randn(1, tokens + learnt, DIM)) if rng.random() < 0.8 else None
        self.blocks = nn.ModuleList(Block(rng) for _ in range(int(pick(rng, [*[1] * 10, 2, 0]))))
        self.norm = nn.LayerNorm(DIM) if rng.random() < 0.7 else nn.Identity()
        self.pixels = pick(rng, PIXELS)
        self.before, self.embedded = seldom(rng, pick(rng, ANYWHERE)), seldom(rng, pick(rng, ANYWHERE))
        self.head, self.out = seldom(rng, pick(rng, ANYWHERE), 0.3), pick(rng, [*OUTPUTS, *OUTPUTS[:1] * 20])

    def forward(self, x: torch.Tensor, *rest: Any) -> Any:
        x = self.patch(self.before(self.pixels(x.to(self.patch.weight.dtype)))).flatten(2).mT
        x = x if self.learnt is None else torch.cat((self.learnt, x), 1)
        x = self.embedded(x if self.pos is None else x + self.pos)
        for block in self.blocks:
            x = block(x)
        return self.out(self.head(self.norm(x)))


class Locked(nn.Module):
    """Holds what cannot be copied."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.held = inner, (i for i in range(3))

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x)


class Counting(nn.Module):
    """Changes a buffer of its own."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, x: torch.Tensor) -> Any:
        self.seen += 1
        return self.inner(x)


def with_attribute(model: nn.Module) -> nn.Module:
    model.cached = model.patch.weight * 2
    return model


def with_parameter(value: float, name: str = "patch.weight") -> Callable[[nn.Module], nn.Module]:
    def change(model: nn.Module) -> nn.Module:
        model.get_parameter(name).data.flatten()[0] = value
        return model

    return change


def with_buffer(value: Any) -> Callable[[nn.Module], nn.Module]:
    def change(model: nn.Module) -> nn.Module:
        model.register_buffer("unused", value)
        return model

    return change


def tied(model: nn.Module) -> nn.Module:
    if len(model.blocks) > 1:
        model.blocks[1] = model.blocks[0]
    return model


def pruned(model: nn.Module) -> nn.Module:
    prune.l1_unstructured(model.patch, "weight", 0.3)
    return model


def scaled(factor: float) -> Callable[[nn.Module], nn.Module]:
    def change(model: nn.Module) -> nn.Module:
        for parameter in model.parameters():
            parameter.data.mul_(factor)
        return model

    return change


FINISH: list[Callable[[nn.Module], Any]] = [
    *[lambda m: m] * 110,
    lambda m: m.half(),
    lambda m: m.bfloat16(),
    lambda m: m.double(),
    lambda m: m.train(),
    lambda m: m.to("meta"),
    lambda m: m.requires_grad_(False),
    lambda m: torch.compile(m),
    lambda m: nn.DataParallel(m).eval(),
    lambda m: torch.ao.quantization.quantize_dynamic(m, {nn.Linear}, dtype=torch.qint8),
    lambda m: torch.nn.utils.parametrizations.weight_norm(m.patch) and m,
    lambda m: torch.nn.utils.parametrizations.spectral_norm(m.patch).eval() and m.eval(),
    lambda m: Locked(m).eval(),
    lambda m: Locked(m).eval().half(),
    lambda m: Counting(m).eval(),
    lambda m: m.state_dict(),
    lambda m: m.forward,
    lambda m: None,
    lambda m: nn.Identity().eval(),
    lambda m: nn.Sequential(nn.Flatten(), nn.LazyLinear(4)).eval(),
    lambda m: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(),
    with_attribute,
    lambda m: with_attribute(m).half(),
    with_parameter(torch.nan),
    with_parameter(torch.inf),
    with_parameter(1e38),
    with_buffer(torch.tensor(torch.nan)),
    with_buffer(torch.ones(2, dtype=torch.complex64)),
    with_buffer(torch.eye(2).to_sparse()),
    with_buffer(torch.zeros(0)),
    tied,
    pruned,
    scaled(0.0),
    scaled(1e-12),
    scaled(1e12),
]
IMAGES: list[Callable[[], Any]] = [
    *[lambda: torch.zeros(1, 3, SIDE, SIDE)] * 80,
    lambda: torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8),
    lambda: torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float16),
    lambda: torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64),
    lambda: torch.full((1, 3, SIDE, SIDE), torch.nan),
    lambda: torch.zeros(1, 3, SIDE + 1, SIDE),
    lambda: torch.zeros(1, 1, SIDE, SIDE),
    lambda: torch.zeros(1, 3, 0, SIDE),
    lambda: torch.zeros(3, SIDE, SIDE),
    lambda: torch.zeros(1, 3, SIDE, SIDE).numpy(),
    lambda: None,
]
TASKS: list[Any] = [
    *[None] * 60,
    {"a": (), "b": (1,)},
    {"a": (0,), "b": ("x",)},
    {},
    {"a.b": ()},
    {"a": 0},
    {"a": (None,)},
]


def attempt(number: int) -> tuple[str, Captured | MoesaicError]:
    """What became of a module: "captured" or "refused".

    Raises
    ------
    AssertionError
        If it was refused in other than one line that says what must be, or where the program itself failed.
    """
    rng = np.random.default_rng([11, number])
    torch.manual_seed(number)
    with torch.inference_mode(rng.random() < 0.03):
        model = pick(rng, FINISH)(Model(rng).eval())
        image, tasks = pick(rng, IMAGES)(), pick(rng, TASKS)
    try:
        return "captured", capture(model, image, tasks=tasks)
    except MoesaicError as error:
        first = str(error).splitlines()[0]
        assert UNFORESEEN not in str(error), f"module {number}: {error}"
        assert " must " in first or "fails with" in first, f"module {number}: {error}"
        return "refused", error


if __name__ == "__main__":
    first, count = (int(text) for text in (["0"] * (3 - len(sys.argv)) + sys.argv[1:]))
    became = Counter[str]()
    for number in range(first, first + count):
        try:
            became[attempt(number)[0]] += 1
        except (AssertionError, *FAILURES) as error:
            became["failed"] += 1
            print(f"{number}: {type(error).__name__}: {error}", flush=True)
        if (number + 1 - first) % 20 == 0 or number + 1 == first + count:
            print(f"to {number}:", ", ".join(f"{n} {what}" for what, n in sorted(became.items())), flush=True)
    sys.exit(bool(became["failed"]))
