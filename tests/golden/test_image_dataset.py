"""Images of datasets in every form that they come in, and noise with natural spectra."""

import numpy as np
import pytest

from moesaic.golden.image_dataset import read_dataset
from moesaic.golden.image_io import ImageError
from moesaic.golden.image_sources import dataset_name
from moesaic.golden.natural import natural_images

SIZE = (16, 24)
SOURCE = """
import numpy as np, torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 16, 24, 3), dtype=np.uint8)

class Pairs(Dataset):
    def __len__(self): return 40
    def __getitem__(self, i): return Image.fromarray(PIXELS[i]), i

class Stream(IterableDataset):
    def __iter__(self):
        for image in PIXELS: yield {"image": torch.from_numpy(image.transpose(2, 0, 1)) / 255, "label": 3}

images = list(PIXELS[:5])
grey = lambda: [PIXELS[0, :, :, 0], PIXELS[1].repeat(2, 0)]
normalised = [PIXELS[0] / 128.0 - 1, "x", np.zeros((2, 2, 2, 2)), PIXELS[7]]
empty = []
def broken(): raise RuntimeError("no disk")
class Bad(Dataset):
    def __len__(self): return 1
    def __getitem__(self, i): raise OSError("gone")
"""
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 16, 24, 3), dtype=np.uint8).transpose(0, 3, 1, 2)


@pytest.fixture
def named(tmp_path):
    path = tmp_path / "data.py"
    path.write_text(SOURCE)
    return lambda name: f"{path}:{name}"


def test_forms(named):
    assert np.array_equal(read_dataset(named("Pairs"), SIZE, 10).images, PIXELS[::4])
    assert np.array_equal(read_dataset(named("Stream"), SIZE, 6).images, PIXELS[:6])
    found = read_dataset(named("images"), SIZE, 10)
    assert np.array_equal(found.images, PIXELS[:5]) and found.names[4] == "item 4" and not found.warnings
    grey = read_dataset(named("grey"), SIZE, 10)
    assert np.array_equal(grey.images[0], np.stack([PIXELS[0, 0]] * 3)) and grey.images.shape == (2, 3, *SIZE)
    assert "2 images are few" in grey.warnings[0]


def test_items_that_are_no_images_are_skipped(named):
    found = read_dataset(named("normalised"), SIZE, 10)
    assert np.array_equal(found.images, PIXELS[7:8])
    assert [name for name, _ in found.skipped] == ["item 0", "item 1", "item 2"]
    assert "floats in [0, 1]" in found.skipped[0][1] and "str" in found.skipped[1][1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "with images in it"),
        ("nobody", "AttributeError"),
        ("broken", "RuntimeError: no disk"),
        ("Bad", "OSError: gone"),
    ],
)
def test_refusals_are_one_line(named, name, message):
    with pytest.raises(ImageError, match=message) as refused:
        read_dataset(named(name), SIZE, 10)
    assert "\n" not in str(refused.value) and "calibrate must be a dataset" in str(refused.value)


def test_names():
    assert dataset_name("a.b:c") == ("a.b", "c") and dataset_name("x/y.py:c") == ("x/y.py", "c")
    assert dataset_name("photos") is None and dataset_name("a:b:c") is None


def test_natural_spectra():
    images = natural_images((64, 96), 4)
    assert images.shape == (4, 3, 64, 96) and images.dtype == np.uint8
    assert np.array_equal(natural_images((64, 96), 2, first=2), images[2:])
    power = np.mean([np.abs(np.fft.fft2(image - image.mean())) ** 2 for image in images[:, 1].astype(float)], axis=0)
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(96)[None])
    low, high = (power[(frequency > a) & (frequency < 2 * a)].mean() for a in (0.05, 0.2))
    assert 8 < low / high < 32  # 16 for amplitudes of 1 / f
    assert np.corrcoef(images[0, 0].ravel(), images[0, 1].ravel())[0, 1] > 0.6
