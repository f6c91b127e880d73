"""Images that show nothing, with the statistics of photographs: to calibrate on where there are none."""

from typing import Any

import numpy as np

__all__ = ["natural_images"]

EXPONENT = 1.0  # amplitude falls as 1 / frequency (Field 1987)
SHARED = 0.9  # of a channel's amplitude is common to all: photographs are almost grey
CONTRAST = (20.0, 75.0)  # deviation of an image, levels
BRIGHTNESS = (80.0, 170.0)


def _surface(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Noise of deviation 1 and mean 0 whose amplitudes fall with frequency, not periodic: a part of a larger one."""
    height, width = (2 * side for side in size)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / frequency**EXPONENT
    part = np.fft.irfft2(spectrum, (height, width))[: size[0], : size[1]]
    return np.asarray((part - part.mean()) / max(float(part.std()), 1e-9))


def natural_images(size: tuple[int, int], count: int, *, first: int = 0, channels: int = 3) -> np.ndarray[Any, Any]:
    """Bytes [count, channels, H, W] with natural spectra, contrasts and brightnesses, of seeds from `first` on."""
    images = []
    for seed in range(first, first + count):
        rng = np.random.default_rng([seed, 1987])
        grey = _surface(rng, size)
        surfaces = np.stack([SHARED * grey + (1 - SHARED**2) ** 0.5 * _surface(rng, size) for _ in range(channels)])
        levels = rng.uniform(*BRIGHTNESS) + rng.uniform(-15, 15, (channels, 1, 1)) + rng.uniform(*CONTRAST) * surfaces
        images.append(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    return np.stack(images)
