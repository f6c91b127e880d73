"""Random small modules for the front end: each is captured, or refused in one line.

`python tests/frontend/random_modules.py 1000` tries the first thousand and says what became of them.
"""

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from random_layers import ANYWHERE, DIM, HEADS, PATCH, SIDE, Block, Change, pick, seldom
from torch import nn
from torch.nn.utils import prune

from moesaic.errors import MoesaicError
from moesaic.golden.frontend.capture import Captured, capture
from moesaic.golden.frontend.refusal import FAILURES, UNFORESEEN

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


class Pooled(nn.Module):
    """Attention from a learnt query to all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.inner = nn.Parameter(torch.randn(1, 1, DIM)), nn.MultiheadAttention(DIM, HEADS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.query.mT.mT, x.transpose(0, 1), x.transpose(0, 1), need_weights=False)[0]


class Model(nn.Module):
    """Embedding, blocks, a head and outputs of any sort."""

    def __init__(self, rng: np.random.Generator, channels: int) -> None:
        super().__init__()
        patch = pick(rng, [*[(PATCH, PATCH)] * 5, (2, 2), (SIDE, SIDE), (2, PATCH), (SIDE, 1)])
        self.patch = nn.Conv2d(channels, DIM, patch, patch, bias=rng.random() < 0.8)
        tokens, learnt = SIDE // patch[0] * (SIDE // patch[1]), int(pick(rng, [0, 1, 1, 3]))
        self.learnt = nn.Parameter(torch.randn(1, learnt, DIM)) if learnt else None
        self.pos = nn.Parameter(torch.randn(1, tokens + learnt, DIM)) if rng.random() < 0.8 else None
        self.blocks = nn.ModuleList(Block(rng) for _ in range(int(pick(rng, [*[1] * 10, 2, 0]))))
        self.norm = pick(rng, [*[nn.LayerNorm(DIM)] * 10, *[nn.Identity()] * 4, nn.RMSNorm(DIM), Pooled()])
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
IMAGES: list[Callable[[int], Any]] = [
    *[lambda channels: torch.zeros(1, channels, SIDE, SIDE)] * 80,
    lambda channels: torch.zeros(1, channels, SIDE, SIDE, dtype=torch.uint8),
    lambda channels: torch.zeros(1, channels, SIDE, SIDE, dtype=torch.float16),
    lambda channels: torch.zeros(1, channels, SIDE, SIDE, dtype=torch.float64),
    lambda channels: torch.full((1, 3, SIDE, SIDE), torch.nan),
    lambda channels: torch.zeros(1, 3, SIDE + 1, SIDE),
    lambda channels: torch.zeros(1, 1, SIDE, SIDE),
    lambda channels: torch.zeros(1, 3, 0, SIDE),
    lambda channels: torch.zeros(3, SIDE, SIDE),
    lambda channels: torch.zeros(1, 3, SIDE, SIDE).numpy(),
    lambda channels: None,
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
        channels = int(pick(rng, [*[3] * 20, 1, 2, 4]))
        model = pick(rng, FINISH)(Model(rng, channels).eval())
        image, tasks = pick(rng, IMAGES)(channels), pick(rng, TASKS)
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
