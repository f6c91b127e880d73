"""Pixels of a patch, normalised on the host, at the ends of what eight bits hold."""

import numpy as np
import pytest

from moesaic.golden.layers.sizes import NORM_KINDS, NormSizes
from moesaic.golden.nodes import Image
from moesaic.golden.patch_norm import PATCH_STEP, normalised_patches


@pytest.mark.parametrize("kind", NORM_KINDS)
def test_pixels_that_stand_out(kind: str) -> None:
    """One of 768 is 27 deviations from the others, and is clipped; one of 48 less than 7, and is not."""
    for size in (4, 16):
        norm = NormSizes(kind=kind, eps=1e-5)
        image = Image(height=size, width=size, patch_height=size, patch_width=size, patch_norm=norm)
        pixels = np.full((2, 3, size * size), 128, np.uint8)
        pixels[0, 1, 7], pixels[1, 2, 3] = 0, 255
        values = (pixels.reshape(2, -1) / 255 - 0.5) / 0.5
        mean = values.mean(axis=1, keepdims=True) if kind == "layernorm" else 0.0
        deviation = np.sqrt(np.mean((values - mean) ** 2, axis=1, keepdims=True) + 1e-5)
        exact = (values - mean) / deviation / PATCH_STEP
        found = normalised_patches(pixels, image).reshape(2, -1)
        assert np.abs(found - np.clip(exact, -128, 127)).max() <= 0.5 + 1e-9
        ends = (found[0, size * size + 7], found[1, 2 * size * size + 3])
        assert (ends == (-128, 127)) == (size == 16)


def test_an_image_without_a_norm_of_patches() -> None:
    with pytest.raises(ValueError, match="image must have a norm of patches, not None"):
        normalised_patches(np.zeros((1, 3, 16), np.uint8), Image(height=4, width=4, patch_height=4, patch_width=4))
