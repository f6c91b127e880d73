"""What quantisation costs on a data set of the user's: a metric of the float network's outputs and of the integers'."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from moesaic.errors import InputError
from moesaic.golden.frontend.head import Head
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.m3vit_int import IntM3ViT

__all__ = ["METRICS", "Accuracy", "Metric", "Networks", "accuracy", "head_output", "scored"]

Metric = Callable[[Sequence[Any], Sequence[Any]], float]  # of outputs and targets, item by item


def _top(count: int) -> Metric:
    def share(outputs: Sequence[Any], targets: Sequence[Any]) -> float:
        """Share of items whose target is among the largest logits."""
        hits = [
            int(target) in np.argsort(-np.asarray(output).reshape(-1), kind="stable")[:count]
            for output, target in zip(outputs, targets, strict=True)
        ]
        return float(np.mean(hits))

    return share


METRICS: dict[str, Metric] = {"top1": _top(1), "top5": _top(5)}


@dataclass(frozen=True)
class Accuracy:
    """A metric before and after quantisation.

    Parameters
    ----------
    metric, task : str
    items : int
    before, after : float
        Of the float network, and of the integers, which are the accelerator's.
    alike : float
        Share of the items for which the largest output is in the same place; of maps of scores, of the pixels.
    """

    metric: str
    task: str
    items: int
    before: float
    after: float
    alike: float

    def __str__(self) -> str:
        return (
            f"{self.metric} of {self.task} on {self.items} items: {self.before:.4f} in float, {self.after:.4f} in "
            f"integers; largest output in the same place for {100 * self.alike:.1f} %"
        )


@torch.no_grad()
def head_output(head: nn.Module, residual: torch.Tensor) -> Any:
    """What a head makes of the tokens [tokens, dim] behind the last block: an array, or a tuple of several."""
    found = head(residual)
    if not isinstance(head, Head):
        return found.numpy()
    parts = tuple(part.resolve_conj().resolve_neg().numpy() for part in found)
    return parts[0] if len(parts) == 1 else parts


def _alike(before: Any, after: Any) -> float:
    """Whether the largest output is in the same place; of maps [classes, H, W] the share of the pixels where it is."""
    a, b = (np.asarray(output[0] if isinstance(output, tuple) else output) for output in (before, after))
    if a.ndim == 3:
        return float((a.argmax(axis=0) == b.argmax(axis=0)).mean())
    return float(a.argmax() == b.argmax())


@dataclass(frozen=True)
class Networks:
    """A network before and after quantisation, for one task.

    Parameters
    ----------
    model : M3ViT
    integers : IntM3ViT
        With the accelerator's arithmetic.
    head : Module
    task : str
    """

    model: M3ViT
    integers: IntM3ViT
    head: nn.Module
    task: str

    @torch.no_grad()
    def outputs(self, image: np.ndarray[Any, Any]) -> tuple[Any, Any]:
        """What the head makes of the float network's tokens and of the integers', for uint8 [channels, H, W]."""
        integers = self.integers
        step = np.float32(integers.qmodel.blocks[-1].residual_step)
        before = head_output(self.head, self.model(image, self.task)[-1])
        return before, head_output(self.head, torch.from_numpy(integers.run(image, self.task)[-1] * step))


def scored(task: str, metric: str | Metric, outputs: Sequence[tuple[Any, Any]], targets: Sequence[Any]) -> Accuracy:
    """The metric of outputs before and after quantisation.

    Raises
    ------
    InputError
        If the metric is unknown, or there are no items.
    """
    if isinstance(metric, str) and metric not in METRICS:
        raise InputError(f"metric must be {' or '.join(METRICS)}, or a function of outputs and targets, not {metric!r}")
    if not targets:
        raise InputError("dataset must have at least one item, not none")
    measure = METRICS[metric] if isinstance(metric, str) else metric
    before, after = [one for one, _ in outputs], [other for _, other in outputs]
    return Accuracy(
        metric=metric if isinstance(metric, str) else getattr(metric, "__name__", "metric"),
        task=task,
        items=len(targets),
        before=float(measure(before, targets)),
        after=float(measure(after, targets)),
        alike=float(np.mean([_alike(a, b) for a, b in outputs])),
    )


def accuracy(
    networks: Networks,
    items: Iterable[tuple[np.ndarray[Any, Any], Any]],
    *,
    metric: str | Metric,
    progress: Callable[[int], None] = lambda done: None,
) -> Accuracy:
    """Evaluate both networks on images with targets.

    Parameters
    ----------
    networks : Networks
    items : iterable of (uint8 [channels, H, W], target)
    metric : str or callable
        A name in `METRICS`, or a function of the lists of outputs and targets.
    progress : callable of int
        Told how many items are done.

    Raises
    ------
    InputError
        If the metric is unknown, or there are no items.
    """
    outputs, targets = [], []
    for image, target in items:
        outputs.append(networks.outputs(image))
        targets.append(target)
        progress(len(targets))
    return scored(networks.task, metric, outputs, targets)
