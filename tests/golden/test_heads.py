"""Task heads: shapes, folding of tokens, range of depth."""

import pytest
import torch

from moesaic.golden.config import network_of, preset
from moesaic.golden.heads import NEAREST, DepthHead, Heads, SegmentationHead, build_heads
from moesaic.golden.training.scenes import CLASSES, FAR


@pytest.mark.parametrize("name", ["m3vit-micro", "m3vit-tiny"])
@torch.no_grad()
def test_shapes(name):
    config = preset(name)
    heads = build_heads(config, 0)
    tokens = torch.randn(2, network_of(config).tokens, config.dim)
    assert heads["semseg"](tokens).shape == (2, len(CLASSES), *config.image_size)
    assert heads["depth"](tokens).shape == (2, *config.image_size)
    assert heads["semseg"](tokens[0]).shape == (len(CLASSES), *config.image_size)
    torch.testing.assert_close(heads["depth"](tokens[0]), heads["depth"](tokens)[0], rtol=1e-5, atol=1e-3)


@torch.no_grad()
def test_token_lands_on_its_patch():
    config = preset("m3vit-tiny")  # 8 patches down, 16 across
    head = build_heads(config, 0)["semseg"]
    base = torch.randn(network_of(config).tokens, config.dim, generator=torch.Generator().manual_seed(0))
    before = head(base)
    for row, column in ((0, 0), (2, 13), (7, 5)):
        changed = base.clone()
        changed[1 + row * 16 + column] += torch.randn(config.dim, generator=torch.Generator().manual_seed(1))
        moved = (head(changed) - before).abs().sum(0)  # [H, W]
        assert moved[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16].min() > 0
        # A 3x3 convolution reaches one patch further, upsampling another 2 pixels (half a cell).
        near = torch.zeros_like(moved, dtype=torch.bool)
        near[max(row * 16 - 18, 0) : row * 16 + 34, max(column * 16 - 18, 0) : column * 16 + 34] = True
        assert not moved[~near].any()
    changed = base.clone()
    changed[0] += 5  # the class token is dropped
    assert torch.equal(head(changed), before)


@torch.no_grad()
def test_depth_stays_in_range():
    config = preset("m3vit-micro")
    depth = build_heads(config, 0)["depth"](torch.randn(network_of(config).tokens, config.dim) * 100)
    assert depth.min() >= NEAREST and depth.max() <= FAR * 1.0001


def test_head_for_each_task():
    heads = Heads(network_of(preset("m3vit-micro")))
    assert type(heads["semseg"]) is SegmentationHead and type(heads["depth"]) is DepthHead


def test_bad_use_is_refused():
    config = preset("m3vit-micro")
    with pytest.raises(ValueError, match=r"tokens must be \[65, 64\], not \[64, 64\]"):
        build_heads(config, 0)["depth"](torch.zeros(64, 64))
    with pytest.raises(ValueError, match="channels must be positive, not 0"):
        SegmentationHead(network_of(config), classes=0)
