"""Image files: what is read is what was written, and bad files are refused by name."""

import numpy as np
import pytest

from moesaic.golden.image_io import ImageError, read_image, write_image, write_sample
from moesaic.golden.training.scenes import render


def test_sample_is_the_scene(tmp_path):
    path = tmp_path / "street.png"
    write_sample(path, (128, 256), seed=3)
    image = read_image(path, (128, 256))
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    np.testing.assert_array_equal(image, render(3, (128, 256)).image)
    assert [p.name for p in tmp_path.iterdir()] == ["street.png"]


def test_wrong_size_is_refused_and_resized_on_request(tmp_path):
    path = tmp_path / "small.png"
    write_image(path, np.full((3, 10, 20), 77, dtype=np.uint8))
    with pytest.raises(ImageError, match=r"image must be 64 pixels high and 32 wide, not 10 and 20 .*resize"):
        read_image(path, (64, 32))
    image = read_image(path, (64, 32), resize=True)
    assert image.shape == (3, 64, 32) and (image == 77).all()


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channels(tmp_path, channels):
    path = tmp_path / "a.png"
    image = np.random.default_rng(channels).integers(0, 256, (channels, 6, 5), dtype=np.uint8)
    write_image(path, image)
    np.testing.assert_array_equal(read_image(path, (6, 5), channels), image)
    large = read_image(path, (12, 10), channels, resize=True)
    assert large.shape == (channels, 12, 10)
    write_image(path, image[-1])  # what is in the others makes no difference, alpha's zeros neither
    np.testing.assert_array_equal(read_image(path, (12, 10), 1, resize=True)[0], large[-1])


@pytest.mark.parametrize(
    ("has", "wants", "why"),
    [
        (3, 1, "image must be grey, not .*colours"),
        (4, 2, "image must be grey with alpha, not .*colours"),
        (3, 2, "image must be grey with alpha, not .*its mode is RGB, without an alpha channel"),
        (3, 4, "image must be RGB with alpha, not .*its mode is RGB, without an alpha channel"),
        (4, 3, "image must be opaque, not"),
    ],
)
def test_channels_that_a_file_has_not(tmp_path, has, wants, why):
    write_image(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (has, 6, 5), dtype=np.uint8))
    with pytest.raises(ImageError, match=why) as error:
        read_image(tmp_path / "a.png", (6, 5), wants)
    assert "\n" not in str(error.value)


def test_files_that_are_no_images(tmp_path):
    text, cut, empty = tmp_path / "a.txt", tmp_path / "cut.png", tmp_path / "empty.png"
    text.write_text("hello")
    empty.write_bytes(b"")
    write_sample(tmp_path / "whole.png", (64, 64))
    cut.write_bytes((tmp_path / "whole.png").read_bytes()[:500])
    for path in (text, cut, empty):
        with pytest.raises(ImageError, match="image must be a readable image file, not"):
            read_image(path, (64, 64))
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png", (64, 64))


def test_only_bytes_are_written(tmp_path):
    with pytest.raises(ValueError, match=r"image must be uint8 \[1 to 4, H, W\] or \[H, W\], not float64 \[3, 4, 4\]"):
        write_image(tmp_path / "a.png", np.zeros((3, 4, 4)))
    assert not list(tmp_path.iterdir())
