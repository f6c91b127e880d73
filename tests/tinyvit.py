"""A plain vision transformer that classifies images, small and with random parameters."""

import torch
from torch import nn

__all__ = ["Block", "Tiny", "tiny"]


class Block(nn.Module):
    """Attention, then an MLP."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Tiny(nn.Module):
    """Images of 32 x 32 pixels, normalised to [-1, 1], to scores of three classes."""

    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, dim, 8, 8)
        self.place = nn.Parameter(0.02 * torch.randn(1, 16, dim))
        self.block = Block(dim, 2)
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.embed(image).flatten(2).transpose(1, 2) + self.place
        return self.head(self.norm(self.block(x)).mean(1))


def tiny() -> tuple[Tiny, torch.Tensor]:
    """Always the same, and an image."""
    torch.manual_seed(0)
    network = Tiny().eval()
    with torch.no_grad():
        network.embed.weight.mul_(8)  # so that the class depends on the image
        patches = (2 * torch.rand(64, 3, 4, 4) - 1).repeat_interleave(8, 2).repeat_interleave(8, 3)
        network.head.bias.sub_(network(patches).mean(0))  # and each is about as frequent
    return network, torch.zeros(1, 3, 32, 32)
