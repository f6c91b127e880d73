"""What of the recognised layers the network that comes out can carry; the rest is refused by name, in one line."""

from collections.abc import Iterator

from moesaic.golden.frontend.activations import FUNCTIONS
from moesaic.golden.frontend.meaning import Patches, Residual
from moesaic.golden.frontend.recognise import Recognised
from moesaic.golden.frontend.refusal import CaptureError, line_of

__all__ = ["check_carried"]


def _problems(residual: Residual, kind: str) -> Iterator[tuple[str, str, str]]:
    """What is there, what must be there instead, and the nearest supported thing."""
    block, dim = residual.block, residual.shape[1]
    if (block.kind == "attention") != (kind == "attention"):
        after = "another MLP" if kind == "attention" else "another attention, or nothing"
        yield (
            f"{block.kind} before {after}",
            "attention and MLP in turn",
            "x + attention(norm(x)), then x + MLP(norm(x))",
        )
    if block.norm.kind != "layernorm":
        yield ("RMSNorm", "LayerNorm", "nn.LayerNorm(dim)")
    if block.kind == "attention":
        heads, width = block.facts["heads"], block.facts["head_dim"]
        if heads * width != dim:
            yield (
                f"attention of {heads} heads of {width} channels",
                f"heads that share the {dim} channels of a token",
                f"{max(1, dim // width)} heads of {width} channels",
            )
        return
    title = FUNCTIONS[block.facts["activation"]][0]
    if block.facts["gated"]:
        yield (f"a gated MLP with {title}", "two linear layers with GELU between", "nn.Linear, nn.GELU, nn.Linear")
    elif "gelu" not in block.facts:
        yield (title, "GELU", "nn.GELU(), or nn.GELU('tanh')")


def check_carried(recognised: Recognised) -> None:
    """`CaptureError` if a layer is known, but the network has no place for it."""
    patches = recognised.embed.linear.source
    assert isinstance(patches, Patches)
    channels, (height, width) = patches.pixels.shape[0], patches.size
    if channels != 3 or height != width:
        raise CaptureError(
            f"patches must be square, of three channels, not {height} x {width} of {channels}\n"
            "nearest supported: nn.Conv2d(3, dim, kernel_size=patch, stride=patch)"
        )
    residuals = recognised.residuals
    turns = [("attention", "MLP")[i % 2] for i in range(len(residuals) + len(residuals) % 2)]
    for number, kind in enumerate(turns):
        if number == len(residuals):
            raise CaptureError(
                f"the last block must have an MLP after its attention, not end there\nat "
                f"{_line(residuals[-1])}\nnearest supported: x + attention(norm(x)), then x + MLP(norm(x))"
            )
        for found, expected, nearest in _problems(residuals[number], kind):
            raise CaptureError(
                f"half {number % 2 + 1} of block {number // 2} must be {expected}, not {found}\n"
                f"at {_line(residuals[number])}\nnearest supported: {nearest}"
            )


def _line(residual: Residual) -> str:
    return str((line_of(residual.node) if residual.node is not None else None) or "an unknown line")
