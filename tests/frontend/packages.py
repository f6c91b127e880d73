"""Vision transformers of timm and torchvision: which are captured and which are refused, and for what."""

import importlib
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import zoo
from torch import nn

from moesaic.golden.network import Network
from moesaic.golden.nodes import Layer, chain_of

__all__ = ["CASES", "VISION", "Case", "imported", "of_full_size"]

VISION = Path(sys.prefix) / "vision"
_LIBRARIES: list[torch.library.Library] = []  # what they define lives as long as they


def imported(package: str) -> Any:
    """A package that imports torchvision.

    PyPI's torchvision is compiled for CUDA. Beside a torch for CPUs its library of operators does not load, and its
    import fails at the first one that it looks for. Vision transformers use none of them, so their declarations do.
    `setup.sh` puts both packages into a folder of their own, out of the way of those that would look for them.
    """
    if str(VISION) not in sys.path:
        sys.path.append(str(VISION))
        importlib.invalidate_caches()
    try:
        return importlib.import_module(package)
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] in (package.split(".")[0], "torchvision")]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _LIBRARIES.append(library)
    return importlib.import_module(package)


@dataclass(frozen=True)
class Case:
    """A model by its name.

    Parameters
    ----------
    name : str
    patch : int
        Side of a patch, pixels.
    refused : str
        Words of the refusal; empty: it is captured.
    why : str
        What is really there, for people.
    package : str
    options : dict
        Of the package's function, at full size.
    tested : bool
        By each run of the tests; the others only when the table is made.
    """

    name: str
    patch: int = 16
    refused: str = ""
    why: str = ""
    package: str = "timm"
    options: dict[str, Any] = field(default_factory=dict)
    tested: bool = False

    @property
    def title(self) -> str:
        """Its name, and the options that it was made with."""
        return ", ".join([self.name, *(f"{name}={value}" for name, value in self.options.items())])

    @property
    def small_blocks(self) -> int:
        """Two are a chain; what is refused is seen in one."""
        return 1 if self.refused else 2

    def small(self) -> tuple[nn.Module, int]:
        """The model with its own width, few blocks, random parameters, and the side of its image: two patches."""
        side = 2 * self.patch
        if self.package == "timm":
            return zoo.seeded(imported("timm").create_model(self.name, depth=self.small_blocks, img_size=side)), side
        whole = self.whole()
        sizes = {"hidden_dim": whole.hidden_dim, "mlp_dim": whole.mlp_dim, "num_heads": whole.blocks[0].num_heads}
        kind = imported("torchvision.models.vision_transformer").VisionTransformer
        return zoo.seeded(kind(image_size=side, patch_size=self.patch, num_layers=self.small_blocks, **sizes)), side

    def whole(self) -> Any:
        """The model itself, without memory for its parameters; `blocks` are its blocks, as in timm."""
        with torch.device("meta"):
            if self.package == "timm":
                return imported("timm").create_model(self.name, **self.options)
            model = imported("torchvision.models").get_model(self.name, weights=None, **self.options)
        model.blocks = list(model.encoder.layers)
        return model

    def image_side(self) -> int:
        """Side of the image at full size, pixels."""
        if self.package == "timm":
            side = self.options.get("img_size") or imported("timm").get_pretrained_cfg(self.name).input_size[-1]
            return int(side)
        return int(self.whole().image_size)


def of_full_size(case: Case, small: Network) -> Network:
    """The whole model's network: as many blocks like those of the small one, and its image."""
    side, blocks = case.image_side(), len(case.whole().blocks)
    image = replace(small.image, height=side, width=side)
    layers = [Layer(sizes=n.sizes, norm=n.norm) for n in small.blocks[0].nodes if n.norm is not None]
    nodes = chain_of(image, small.prefix_tokens, small.dim, [layers] * blocks, embed_norm=small.nodes[0].norm)
    return replace(small, name=case.name, image=image, nodes=nodes)


_224 = {"img_size": 224}
CASES = (
    Case("vit_tiny_patch16_224", tested=True),
    Case("vit_small_patch16_224"),
    Case("vit_small_patch32_224", 32),
    Case("vit_base_patch16_224"),
    Case("deit_tiny_patch16_224"),
    Case("deit_tiny_distilled_patch16_224", tested=True),
    Case("deit_small_distilled_patch16_224"),
    Case("deit3_small_patch16_224", tested=True),
    Case("vit_small_patch14_dinov2", 14, options=_224),
    Case("vit_small_patch14_dinov2", 14),
    Case("vit_small_patch14_reg4_dinov2", 14, options=_224, tested=True),
    Case("vit_base_patch16_siglip_224", tested=True),
    Case("vit_base_patch16_siglip_gap_224"),
    Case("vit_base_patch32_clip_224", 32),
    Case("vit_base_patch32_clip_quickgelu_224", 32, tested=True),
    Case("vit_wee_patch16_reg1_gap_256"),
    Case("vit_b_16", package="torchvision", tested=True),
    Case("vit_b_32", 32, package="torchvision"),
    Case("vit_tiny_r_s16_p8_224", 32, "not 'pad'", "convolutions before the patches", tested=True),
    Case(
        "vit_small_patch16_18x2_224",
        refused="not a parallel block",
        why="two attentions side by side in a block",
        tested=True,
    ),
    Case("vit_pwee_patch16_reg1_gap_256", refused="not a parallel block", why="attention and MLP side by side"),
    Case(
        "vit_base_patch16_rpn_224",
        refused="what attention returns (post-norm)",
        why="norms behind attention",
        tested=True,
    ),
    Case(
        "vit_base_patch16_xp_224",
        refused="RMSNorm of the output of a linear layer",
        why="norms of q and k",
        tested=True,
    ),
    Case("vit_relpos_small_patch16_224", refused="a position bias", why="relative position bias", tested=True),
    Case("beit_base_patch16_224", refused="a position bias", why="relative position bias"),
    Case("vit_small_patch16_dinov3", refused="not a rotary embedding", why="rotary positions", tested=True),
)
