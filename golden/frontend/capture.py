"""`capture`: any module made of supported layers, as an M3ViT with its parameters, its head and the user's names."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from moesaic.errors import MoesaicError
from moesaic.golden.config import M3ViTConfig
from moesaic.golden.frontend import arithmetic, attention, gates, layers, leaves, mixture, pointwise, products
from moesaic.golden.frontend.assemble import assemble, chain
from moesaic.golden.frontend.export import check_numbers, trace_module
from moesaic.golden.frontend.head import Head, extract_head
from moesaic.golden.frontend.known import Known
from moesaic.golden.frontend.leaves import Mixture, find_mixtures, observe
from moesaic.golden.frontend.meaning import Pixels, Residual
from moesaic.golden.frontend.nodes import name_of
from moesaic.golden.frontend.prepare import prepare
from moesaic.golden.frontend.prove import random_image, worst_difference
from moesaic.golden.frontend.reader import Reader, Unknown
from moesaic.golden.frontend.refusal import UNFORESEEN, CaptureError, line_of
from moesaic.golden.frontend.surroundings import usual_torch
from moesaic.golden.m3vit import M3ViT
from moesaic.names import check_tasks

__all__ = ["DEFAULT_TASK", "CaptureError", "Captured", "capture"]

DEFAULT_TASK = "output"
HANDLERS = {
    **layers.HANDLERS,
    **attention.HANDLERS,
    **products.HANDLERS,
    **arithmetic.HANDLERS,
    **pointwise.HANDLERS,
    **gates.HANDLERS,
    **mixture.HANDLERS,
    **leaves.HANDLERS,
}


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A module, captured.

    Parameters
    ----------
    config : M3ViTConfig
    state : dict of name to Tensor
        Parameters of `M3ViT(config)`, float32.
    names : dict of name to tuple of str
        Which of the user's parameters each comes from; none for zeros that the module has no parameter for.
    heads : dict of task to Head
        What the host computes from the last block's tokens to return what the module returns.
    notes : tuple of str
        What the user should know.
    normalised : bool
        Whether the module takes pixels that are normalised already.
    difference : float
        Largest difference of any output on random images, as a fraction of that output's largest value.
    """

    config: M3ViTConfig
    state: dict[str, torch.Tensor]
    names: dict[str, tuple[str, ...]]
    heads: dict[str, Head]
    notes: tuple[str, ...]
    normalised: bool
    difference: float

    def model(self) -> M3ViT:
        """The canonical model, in inference mode."""
        model = M3ViT(self.config)
        model.load_state_dict(self.state)
        return model.eval()


@dataclass(frozen=True)
class _Reading:
    last: Residual
    head: Head
    notes: tuple[str, ...]


def capture(
    module: nn.Module,
    image: torch.Tensor,
    *,
    name: str = "captured",
    tasks: Mapping[str, Sequence[Any]] | None = None,
    pixel_mean: Sequence[float] = (0.5, 0.5, 0.5),
    pixel_std: Sequence[float] = (0.5, 0.5, 0.5),
) -> Captured:
    """Capture a module.

    Parameters
    ----------
    module : nn.Module
        In inference mode; called as `module(image, *arguments)`.
    image : Tensor, [1, 3, H, W]
        An example: its shape is the only one the program will take. Bytes, or floats.
    name : str
        Of the model.
    tasks : mapping of task to further arguments, optional
        A module with a gate per task is captured once for each; one task without arguments if left out.
    pixel_mean, pixel_std : three numbers
        How pixels in [0, 1] are normalised before they reach a module that does not normalise them itself.

    Raises
    ------
    CaptureError
        If the module cannot be traced, has a layer that is not supported (the message has the user's line and the
        nearest supported thing), or computes something else than what was recognised.
    """
    tasks = {DEFAULT_TASK: ()} if tasks is None else tasks
    check_tasks(tuple(tasks), error=CaptureError)
    for task, arguments in tasks.items():
        if not isinstance(arguments, (tuple, list)):
            raise CaptureError(
                f"arguments of task '{task}' must be a tuple or list, not {type(arguments).__name__}: (0,) for the "
                "number 0"
            )
    with usual_torch():
        try:
            return _captured(module, _example(image), name, tasks, pixel_mean, pixel_std)
        except MoesaicError:
            raise
        except Exception as error:
            said = f"({type(error).__name__}: {' '.join(str(error).split())})"
            raise CaptureError(f"the module must be one that can be captured, not one {UNFORESEEN} {said}") from error


def _example(image: Any) -> torch.Tensor:
    """An image like a user's example, as a plain tensor: bytes, or float32."""
    if not isinstance(image, torch.Tensor) or image.ndim != 4 or image.shape[0] != 1 or image.is_nested:
        shape = list(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
        raise CaptureError(
            f"example image must be a tensor [1, 3, height, width], not {shape}: shapes are fixed, batches are one"
        )
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise CaptureError(f"example image must be uint8 or floating point, not {image.dtype}")
    # Only its shape and type matter: it may be uninitialised, or of inference mode.
    like = torch.empty(image.shape, dtype=torch.uint8 if image.dtype == torch.uint8 else torch.float32)
    return random_image(like, 0).to(like.dtype)


def _captured(
    module: nn.Module,
    image: torch.Tensor,
    name: str,
    tasks: Mapping[str, Sequence[Any]],
    pixel_mean: Sequence[float],
    pixel_std: Sequence[float],
) -> Captured:
    module, said = prepare(module)
    notes = list(said)
    readings = {
        task: _read(module, image, tuple(arguments), number) for number, (task, arguments) in enumerate(tasks.items())
    }
    result = assemble(
        name,
        tuple(tasks),
        [reading.last for reading in readings.values()],
        uint8=image.dtype == torch.uint8,
        mean=pixel_mean,
        std=pixel_std,
    )
    canonical = M3ViT(result.config).eval()
    canonical.load_state_dict(result.state)
    canonical = canonical.double()
    difference = max(
        worst_difference(
            module,
            image,
            tuple(arguments),
            canonical,
            number,
            copy.deepcopy(readings[task].head).double(),
            normalised=result.normalised,
            white=result.white,
        )
        for number, (task, arguments) in enumerate(tasks.items())
    )
    if result.warning:
        notes.append(f"warning: pixels: {result.warning}")
    for reading in readings.values():
        notes += [*reading.notes, *reading.head.notes]
    return Captured(
        config=result.config,
        state=result.state,
        names=result.names,
        notes=tuple(dict.fromkeys(notes)),
        normalised=result.normalised,
        difference=difference,
        heads={task: reading.head for task, reading in readings.items()},
    )


def _read(module: nn.Module, image: torch.Tensor, arguments: tuple[Any, ...], task: int) -> _Reading:
    mixtures = find_mixtures(module)
    if mixtures:
        observe(module, (image, *arguments), mixtures)
    graph = trace_module(module, (image, *arguments), mixtures)
    check_numbers(module, graph, mixtures)
    reader = Reader(HANDLERS)
    channels, height, width = image.shape[1:]
    pixels = Pixels(
        node=None,
        shape=(channels, height, width),
        scale=torch.ones(channels, dtype=torch.float64),
        offset=torch.zeros(channels, dtype=torch.float64),
    )
    start = reader.add(pixels)
    reader.read(
        graph, [torch.arange(start, start + image[0].numel()).view(image.shape), *(Known(a) for a in arguments)]
    )
    last = _last(graph, reader)
    assert last.node is not None
    place = reader.find(reader.values[last.node])
    assert place is not None
    notes = _solve(last, mixtures, task)
    head = extract_head(graph, last, place[1])
    if not head.outputs:
        raise CaptureError("the module must return something that depends on its last block, not nothing")
    return _Reading(last, head, notes)


def _solve(last: Residual, mixtures: Sequence[Mixture], task: int) -> tuple[str, ...]:
    """Fill in the blocks that are mixtures known by their parameters."""
    notes = []
    for residual in chain(last)[1]:
        block = residual.block
        if "leaf" not in block.facts:
            continue
        mix = mixtures[block.facts.pop("leaf")]
        if list(block.facts.pop("columns")) != list(range(residual.shape[1])):
            raise CaptureError(f"channels of mixture '{mix.name}' must keep their order\nat {mix.where}")
        block.parameters, block.facts, gate = leaves.solve(mix, task)
        gate_name = ".".join(part for part in (mix.name, gate) if part)
        block.names = {
            key: (f"{mix.name}.{key.removeprefix('mlp.')}",) for key in block.parameters if key.startswith("mlp.")
        }
        block.names |= {"gate.weight": (f"{gate_name}.w_gate",), "gate.bias": ()}
        notes.append(
            f"mixture '{mix.name}': top-{block.facts['top_k']}, {block.facts['gate_kind']} gate, found by what it "
            f"computes"
        )
    return tuple(notes)


def _last(graph: fx.GraphModule, reader: Reader) -> Residual:
    """The residual after the last block; `CaptureError` if something before or behind it was not understood."""
    found = [m for m in reader.meanings if isinstance(m, Residual)]
    order = {node: i for i, node in enumerate(graph.graph.nodes)}
    image = set[fx.Node]()
    for node in graph.graph.nodes:
        if node.op == "placeholder" or any(source in image for source in node.all_input_nodes):
            image.add(node)
    whole = [m for m in found if m.block.kind != "attention" and m.node is not None]
    last = max(whole, key=lambda m: order[m.node] if m.node is not None else -1, default=None)
    at = -1 if last is None or last.node is None else order[last.node]
    stuck = [node for node in graph.graph.nodes if order[node] > at and _mixes_tokens(node, image)]
    stuck += [m.node for m in found if m.node is not None and order[m.node] > at]
    if last is not None and not stuck:
        return last
    target = min(stuck, key=lambda n: order[n], default=next(n for n in graph.graph.nodes if n.op == "output"))
    candidates = [v for n, v in reader.values.items() if isinstance(v, Unknown) and v.node is n]
    behind = [u for u in candidates if order[u.node] > at] or candidates
    near = [u for u in behind if _leads_to(u.node, target)] or behind
    if not near:
        raise CaptureError(
            "the module must be a vision transformer: patch embedding, then pre-norm blocks of attention and MLP; no "
            "block was "
            "found in it\nnearest supported: see docs/models.md"
        )
    raise CaptureError(_text(min(near, key=lambda u: order[u.node])))


def _mixes_tokens(node: fx.Node, image: set[fx.Node]) -> bool:
    """Whether a node is part of attention, or of a mixture: never in a head."""
    if node.op != "call_function":
        return False
    name = name_of(node)
    moving = [source for source in node.all_input_nodes if source in image]
    products = ("bmm", "baddbmm", "matmul", "mm")
    return name in ("scaled_dot_product_attention", "mixture") or (name in products and len(moving) > 1)


def _leads_to(node: fx.Node, target: fx.Node) -> bool:
    waiting, seen = [target], set[fx.Node]()
    while waiting:
        current = waiting.pop()
        if current is node:
            return True
        if current not in seen:
            seen.add(current)
            waiting += current.all_input_nodes
    return False


def _text(unknown: Unknown) -> str:
    refusal = unknown.refusal
    node = refusal.node or unknown.node
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0].replace("L['self'].", "") if stack and stack[-1][0] else ""
    inside = f" in '{path}'" if path else ""
    return (
        f"node '{node.name}'{inside} must be {refusal.expected}, not {refusal.found}\n"
        f"at {line_of(node) or 'an unknown line'}\nnearest supported: {refusal.nearest}"
    )
