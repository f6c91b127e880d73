"""M3ViT's own task head, for the host: convolutions with batch norm between doublings of the map, by its published
names.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from moesaic.golden.network import Network
from moesaic.golden.weights import WeightError, check_tensors

__all__ = ["UpHead", "is_up_head", "up_head"]

HIDDEN = 256  # channels between the convolutions, as published
AUXILIARY = "output_level_"  # maps of intermediate levels: training only
COUNTER = "num_batches_tracked"  # batches that a batch norm has seen: not used in inference


class UpHead(nn.Module):
    """Tokens to a map: LayerNorm, learnt tokens dropped, folded; then, after `VisionTransformerUpHead` of M3ViT,

    * four times 3x3 convolution, batch norm, ReLU, with bilinear doubling after the first three, then 1x1 convolution
      and a last doubling (progressive upsampling), or
    * one 3x3 (or 1x1) convolution, batch norm, ReLU, 1x1 convolution;

    and bilinear upsampling to the image's size. Inference only: batch norms use their running statistics.

    Parameters
    ----------
    network : Network
        Gives `dim`, the grid of patches and the image's size.
    task : str
        `depth` gives [H, W], in the units of the training; every other task [channels, H, W].
    channels : int
        Channels of the map.
    convolutions : 2 or 4
        Which of the two, by the name that M3ViT's configurations give it (the last 1x1 counts in 2, not in 4).
    kernel : 1 or 3
        Of the first convolution.
    hidden : int
        Channels between convolutions.
    """

    def __init__(
        self,
        network: Network,
        *,
        task: str,
        channels: int,
        convolutions: int = 4,
        kernel: int = 3,
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()
        if convolutions not in (2, 4):
            raise ValueError(f"convolutions must be 2 or 4, not {convolutions!r}")
        if kernel not in (1, 3):
            raise ValueError(f"kernel must be 1 or 3, not {kernel!r}")
        if task == "depth" and channels != 1:
            raise ValueError(f"channels must be 1 for depth, not {channels!r}")
        self.network, self.task, self.doublings = network, task, 3 if convolutions == 4 else 0
        self.norm = nn.LayerNorm(network.dim, eps=1e-6)
        inputs = network.dim
        for i in range(self.doublings + 1):
            size = kernel if i == 0 else 3
            self.add_module(f"conv_{i}", nn.Conv2d(inputs, hidden, kernel_size=size, padding=size // 2))
            self.add_module(f"syncbn_fc_{i}", nn.BatchNorm2d(hidden))
            inputs = hidden
        self.add_module(f"conv_{self.doublings + 1}", nn.Conv2d(hidden, channels, kernel_size=1))
        self.eval()

    def train(self, mode: bool = True) -> "UpHead":
        """Stays in inference mode: what a checkpoint's statistics are of cannot be continued here."""
        return super().train(False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map [B, channels, H, W] (or without B) from the last block's output [B, N, dim] (or without B)."""
        expected = [self.network.tokens, self.network.dim]
        if tokens.ndim not in (2, 3) or list(tokens.shape[-2:]) != expected:
            raise ValueError(f"tokens must be {expected}, not {list(tokens.shape)!r}")
        x = self.norm(tokens if tokens.ndim == 3 else tokens[None])[:, self.network.prefix_tokens :]
        x = x.transpose(1, 2).unflatten(2, self.network.image.grid)  # [B, dim, H / p, W / p]
        for i in range(self.doublings + 1):
            x = F.relu(self.get_submodule(f"syncbn_fc_{i}")(self.get_submodule(f"conv_{i}")(x)))
            if i < self.doublings:
                x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.get_submodule(f"conv_{self.doublings + 1}")(x)
        if self.doublings:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        if tuple(x.shape[-2:]) != self.network.image.size:
            x = F.interpolate(x, size=self.network.image.size, mode="bilinear", align_corners=False)
        if self.task == "depth":
            x = x.squeeze(1)
        return x if tokens.ndim == 3 else x[0]


def is_up_head(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether a head's tensors (names without `decoders.<task>.`) are M3ViT's up-head's."""
    return "conv_0.weight" in tensors and any(name.startswith("syncbn_fc_0.") for name in tensors)


def up_head(network: Network, task: str, tensors: Mapping[str, torch.Tensor], source: str) -> UpHead:
    """The head of one task from a checkpoint's tensors, in inference mode.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Any floating-point type; names without what stands before them in the file (`module.decoders.<task>.`). Maps of
        intermediate levels are left out.
    source : str
        For messages.

    Raises
    ------
    WeightError
        Lists every missing, extra, mis-shaped or non-finite tensor.
    """
    kept = {n: t for n, t in tensors.items() if not n.startswith(AUXILIARY) and not n.endswith(COUNTER)}
    convolutions = 4 if "conv_4.weight" in kept else 2
    first, last = kept.get("conv_0.weight"), kept.get("conv_4.weight", kept.get("conv_1.weight"))
    for name, tensor in (("conv_0.weight", first), (f"conv_{4 if convolutions == 4 else 1}.weight", last)):
        if tensor is None or tensor.ndim != 4 or not len(tensor) or tensor.shape[-1] not in (1, 3):
            found = "missing" if tensor is None else f"not {list(tensor.shape)}"
            raise WeightError(
                source, [f"{task}: {name}: must be a convolution's, [outputs, inputs, 1 or 3, 1 or 3]: {found}"]
            )
    assert first is not None and last is not None
    try:
        head = UpHead(
            network, task=task, channels=len(last), convolutions=convolutions, kernel=first.shape[-1], hidden=len(first)
        )
    except ValueError as error:
        raise WeightError(source, [f"{task}: {error}"]) from error
    wanted = {name: tensor for name, tensor in head.state_dict().items() if not name.endswith(COUNTER)}
    problems = check_tensors(wanted, kept, f"{task}: ")
    if problems:
        raise WeightError(source, problems)
    head.load_state_dict({name: tensor.float() for name, tensor in kept.items()}, strict=False)  # but for the counters
    return head
