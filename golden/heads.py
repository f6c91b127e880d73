"""Task heads, run by the host: from the last block's tokens to a segmentation or a depth map."""

import torch
import torch.nn.functional as F
from torch import nn

from moesaic.golden.config import M3ViTConfig, network_of
from moesaic.golden.m3vit import seed_parameters
from moesaic.golden.network import Network
from moesaic.golden.training.scenes import CLASSES, FAR

__all__ = ["DepthHead", "Heads", "SegmentationHead", "build_heads"]

NEAREST = 1.0  # metres; the least depth a head can say


class DenseHead(nn.Module):
    """Tokens to a map: LayerNorm, class token dropped, folded, 3x3, GELU, 1x1 to sub-patch cells, bilinear upsampling.

    Parameters
    ----------
    network : Network
        Gives `dim`, the grid of patches and the image's size.
    channels : int
        Channels of the map.
    """

    CELLS = 4  # predicted cells along a patch's side

    def __init__(self, network: Network, channels: int) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels must be positive, not {channels!r}")
        self.network = network
        self.cells = min(self.CELLS, *network.image.patch)
        self.norm = nn.LayerNorm(network.dim, eps=network.eps)
        self.conv = nn.Conv2d(network.dim, network.dim, kernel_size=3, padding=1)
        self.predict = nn.Conv2d(network.dim, channels * self.cells**2, kernel_size=1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map [B, channels, H, W] (or without B) from the last block's output [B, N, dim] (or without B)."""
        expected = [self.network.tokens, self.network.dim]
        if tokens.ndim not in (2, 3) or list(tokens.shape[-2:]) != expected:
            raise ValueError(f"tokens must be {expected}, not {list(tokens.shape)!r}")
        x = self.norm(tokens if tokens.ndim == 3 else tokens[None])
        x = x[:, self.network.prefix_tokens :]
        x = x.transpose(1, 2).unflatten(2, self.network.image.grid)  # [B, dim, H / p, W / p]
        x = F.pixel_shuffle(self.predict(F.gelu(self.conv(x))), self.cells)
        x = F.interpolate(x, size=self.network.image.size, mode="bilinear", align_corners=False)
        return x if tokens.ndim == 3 else x[0]


class SegmentationHead(DenseHead):
    """Class scores of every pixel, [B, classes, H, W]; the class is the largest."""

    def __init__(self, network: Network, classes: int = len(CLASSES)) -> None:
        super().__init__(network, classes)


class DepthHead(DenseHead):
    """Depth of every pixel in metres, [B, H, W], from `NEAREST` to `FAR`; even steps of the output are equal ratios."""

    def __init__(self, network: Network) -> None:
        super().__init__(network, 1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return NEAREST * (FAR / NEAREST) ** torch.sigmoid(super().forward(tokens).squeeze(-3))


class Heads(nn.ModuleDict):
    """One head for each task, by the task's name: `depth` has a `DepthHead`, every other task a `SegmentationHead`."""

    def __init__(self, network: Network) -> None:
        super().__init__(
            {task: DepthHead(network) if task == "depth" else SegmentationHead(network) for task in network.tasks}
        )


def build_heads(config: M3ViTConfig, seed: int) -> Heads:
    """Heads with seeded parameters, in inference mode."""
    heads = Heads(network_of(config))
    seed_parameters(heads, seed)
    heads.eval()
    return heads
