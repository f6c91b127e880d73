"""Heads that came with imported weights, as modules the host can run."""

from collections.abc import Mapping

import torch
from torch import nn

from moesaic.golden.heads import DenseHead, DepthHead, SegmentationHead
from moesaic.golden.importers.imported import Imported
from moesaic.golden.network import Network
from moesaic.golden.up_head import is_up_head, up_head

__all__ = ["imported_heads"]


def _own(network: Network, task: str, tensors: dict[str, torch.Tensor]) -> nn.Module | None:
    """This project's head, if names and shapes are its own."""
    predict = tensors.get("predict.weight")
    if predict is None or predict.ndim != 4:
        return None
    cells = min(DenseHead.CELLS, *network.image.patch) ** 2
    head: DenseHead = (
        DepthHead(network) if task == "depth" else SegmentationHead(network, max(1, len(predict) // cells))
    )
    wanted = {name: tensor.shape for name, tensor in head.state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in tensors.items()}:
        return None
    head.load_state_dict(tensors)
    return head


def imported_heads(imported: Imported) -> dict[str, nn.Module]:
    """A head for each task that has a known one, in inference mode; other tensors of heads stay as they are.

    Raises
    ------
    WeightError
        If one of M3ViT's heads lacks tensors, or has others; all of them are listed.
    """
    found = dict(imported.modules)
    for task in imported.network.tasks:
        own, published = _of(imported.heads, f"heads.{task}."), _of(imported.heads, f"decoders.{task}.")
        if (head := _own(imported.network, task, own)) is not None:
            found[task] = head
        elif is_up_head(published):
            found[task] = up_head(imported.network, task, published, imported.report.source)
    return {task: head.eval() for task, head in found.items()}


def _of(heads: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in heads.items() if name.startswith(prefix)}
