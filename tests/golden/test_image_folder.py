"""Folders of images: broken files, odd ones, and what is suspicious."""

from pathlib import Path

import numpy as np
import pytest

from moesaic.golden.image_folder import read_folder
from moesaic.golden.image_io import ImageError, write_image, write_sample

SIZE = (16, 24)


def fill(folder: Path, count: int) -> None:
    for i in range(count):
        write_sample(folder / f"{i:02}.png", SIZE, i)


def test_broken_files_are_skipped_and_listed(tmp_path):
    fill(tmp_path, 5)
    (tmp_path / "02.png").write_bytes((tmp_path / "02.png").read_bytes()[:200])  # cut short
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "folder.png").mkdir()
    found = read_folder(tmp_path, SIZE, 32)
    assert found.names == ["00.png", "01.png", "03.png", "04.png"]
    assert found.images.shape == (4, 3, *SIZE) and found.images.dtype == np.uint8
    assert [name for name, _ in found.skipped] == ["02.png", "empty.jpg", "notes.txt"]
    assert all(reason for _, reason in found.skipped)
    assert found.warnings == []


def test_even_selection_makes_up_for_broken_files(tmp_path):
    fill(tmp_path, 10)
    assert read_folder(tmp_path, SIZE, 5).names == ["00.png", "02.png", "04.png", "06.png", "08.png"]
    (tmp_path / "04.png").write_text("x")
    found = read_folder(tmp_path, SIZE, 5)
    assert found.names == ["00.png", "02.png", "06.png", "08.png", "01.png"]
    assert [name for name, _ in found.skipped] == ["04.png"]


def test_other_sizes_and_colours_are_converted(tmp_path):
    write_sample(tmp_path / "large.png", (64, 48))
    write_image(tmp_path / "grey.png", np.arange(16 * 24, dtype=np.uint16).reshape(SIZE).astype(np.uint8))
    assert read_folder(tmp_path, SIZE, 4).images.shape == (2, 3, *SIZE)


def test_doubtful_images_are_warned_of(tmp_path):
    write_image(tmp_path / "one.png", np.full((3, *SIZE), 77, np.uint8))
    (flat, few) = read_folder(tmp_path, SIZE, 8).warnings
    assert flat == "1 of 1 images show one colour only: one.png"
    assert few.startswith("1 images are few")
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"{name}.png", np.full((3, *SIZE), 77, np.uint8))
    assert read_folder(tmp_path, SIZE, 8).warnings[1] == "all 4 images are the same picture"


def test_no_images_are_refused(tmp_path):
    with pytest.raises(
        ImageError, match=r"calibrate must be a folder with images in it, not .* \(0 files, none readable\)"
    ):
        read_folder(tmp_path, SIZE, 4)
    (tmp_path / "x.png").write_text("no")
    with pytest.raises(ImageError, match="1 files, none readable"):
        read_folder(tmp_path, SIZE, 4)
    with pytest.raises(ImageError, match="calibrate must be a folder of images, not .*x.png"):
        read_folder(tmp_path / "x.png", SIZE, 4)
    with pytest.raises(ValueError, match="limit must be positive, not 0"):
        read_folder(tmp_path, SIZE, 0)
