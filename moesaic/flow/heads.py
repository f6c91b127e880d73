"""Task heads for the host: from torch modules to what a board runs with numpy."""

import numpy as np
from torch import nn

from moesaic.boards.heads import DenseHead, HostHeads
from moesaic.golden import heads as torch_heads
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.scenes import FAR, PALETTE

__all__ = ["host_heads"]


def host_heads(heads: nn.ModuleDict, qmodel: QuantModel, *, blocks: int) -> HostHeads:
    """The heads that have a numpy form, for the residual after `blocks` blocks; others are left out."""
    found = {}
    for task, head in heads.items():
        if not isinstance(head, torch_heads.DenseHead):
            continue
        config, depth = head.config, isinstance(head, torch_heads.DepthHead)
        found[task] = DenseHead(
            {name: tensor.detach().numpy().astype(np.float32) for name, tensor in head.state_dict().items()},
            config.grid, config.image_size, config.tokens - config.patches, head.cells, config.eps,
            torch_heads.NEAREST if depth else None, FAR if depth else None,
        )
    palette = tuple((int(red), int(green), int(blue)) for red, green, blue in PALETTE)
    return HostHeads(float(qmodel.blocks[blocks - 1].residual_step), found, palette)
