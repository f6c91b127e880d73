"""Image files: modes x formats x orientations give the picture they hold, by every way in; or a refusal by name."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImagePalette

from moesaic.boards.frames import frames
from moesaic.golden.image_folder import read_folder
from moesaic.golden.image_io import read_image
from moesaic.images import ImageError, read_pixels

HEIGHT, WIDTH = 6, 10
# What a viewer does to the stored picture, [H, W, ...], by EXIF orientation.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
READERS: dict[str, Callable[[Path, tuple[int, int]], np.ndarray]] = {
    "--image": lambda path, size: read_image(path, size).transpose(1, 2, 0),
    "--calibrate": lambda path, size: read_folder(path.parent, size, 4).images[0].transpose(1, 2, 0),
    "a frame": lambda path, size: next(frames(path, size))[1],
    "a folder of frames": lambda path, size: next(frames(path.parent, size))[1],
}


def numbers(seed: int, *shape: int, high: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, shape)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def rounded(values: np.ndarray, top: int) -> np.ndarray:
    """`values` of 0..`top` as bytes, halves up, in integers."""
    return grey((values.astype(np.int64) * 510 + top) // (2 * top))


def one_bit(seed: int) -> tuple[Image.Image, np.ndarray]:
    bits = numbers(seed, HEIGHT, WIDTH, high=2).astype(np.uint8) * 255
    return Image.fromarray(bits).convert("1"), grey(bits)


def eight_bits(seed: int) -> tuple[Image.Image, np.ndarray]:
    values = numbers(seed, HEIGHT, WIDTH).astype(np.uint8)
    return Image.fromarray(values), grey(values)


def words(seed: int) -> tuple[Image.Image, np.ndarray]:
    values = numbers(seed, HEIGHT, WIDTH, high=65536)
    values[0, :4] = 0, 65535, 128, 129  # 128 / 257 is just below a half, 129 / 257 above
    return Image.fromarray(values.astype(np.uint16)), rounded(values, 65535)


def words_of_motorola(seed: int) -> tuple[Image.Image, np.ndarray]:
    values = numbers(seed, HEIGHT, WIDTH, high=65536)
    return Image.frombytes("I;16B", (WIDTH, HEIGHT), values.astype(">u2").tobytes()), rounded(values, 65535)


def floats(seed: int) -> tuple[Image.Image, np.ndarray]:
    values = numbers(seed, HEIGHT, WIDTH)
    values[0, :2] = 0, 255
    return Image.fromarray((values / 255).astype(np.float32)), grey(values)


def colours(seed: int) -> tuple[Image.Image, np.ndarray]:
    values = numbers(seed, HEIGHT, WIDTH, 3).astype(np.uint8)
    return Image.fromarray(values), values


def palette(seed: int) -> tuple[Image.Image, np.ndarray]:
    table, index = numbers(seed, 16, 3).astype(np.uint8), numbers(seed + 1, HEIGHT, WIDTH, high=16)
    image = Image.fromarray(index.astype(np.uint8))
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(table.tobytes())
    return image, table[index]


def opaque(seed: int) -> tuple[Image.Image, np.ndarray]:
    image, values = colours(seed)
    image.putalpha(255)
    return image, values


def opaque_grey(seed: int) -> tuple[Image.Image, np.ndarray]:
    image, values = eight_bits(seed)
    image.putalpha(255)
    return image, values


def inks(seed: int) -> tuple[Image.Image, np.ndarray]:
    values = numbers(seed, HEIGHT, WIDTH, 4)
    paper = (255 - values[..., :3]) * (255 - values[..., 3:])
    return Image.frombytes("CMYK", (WIDTH, HEIGHT), values.astype(np.uint8).tobytes()), (
        (2 * paper + 255) // 510
    ).astype(np.uint8)


def brightness(seed: int) -> tuple[Image.Image, np.ndarray]:
    """YCbCr: greys, which are the same in every rounding."""
    values = numbers(seed, HEIGHT, WIDTH)
    planes = np.stack([values, *[np.full_like(values, 128)] * 2], axis=2).astype(np.uint8)
    return Image.frombytes("YCbCr", (WIDTH, HEIGHT), planes.tobytes()), grey(values)


FILES = [  # suffix, what is in it, options of the writer
    *((".png", make, {}) for make in (one_bit, eight_bits, words, colours, palette, opaque, opaque_grey)),
    *((".tif", make, {}) for make in (one_bit, eight_bits, words, words_of_motorola, floats, colours, palette, opaque)),
    *((".tif", make, {"compression": "tiff_lzw"}) for make in (words, colours, inks, opaque_grey)),
    *((".tif", make, {}) for make in (inks, brightness)),
    *((".webp", make, {"lossless": True}) for make in (colours, opaque)),
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_modes_formats_and_orientations(tmp_path: Path, reader: str, orientation: int) -> None:
    for number, (suffix, make, options) in enumerate(FILES):
        image, shown = make(100 * orientation + number)
        exif = Image.Exif()
        exif[0x112] = orientation
        path = tmp_path / str(number) / f"a{suffix}"
        path.parent.mkdir()
        image.save(path, exif=exif, **options)
        expected = UPRIGHT[orientation](shown)
        found = READERS[reader](path, expected.shape[:2])
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected, err_msg=f"{path.name} {make.__name__} {options}")


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_photographs_stand_upright(tmp_path: Path, orientation: int) -> None:
    exif, path = Image.Exif(), tmp_path / "photo.jpg"
    exif[0x112] = orientation
    colours(0)[0].resize((40, 24)).save(path, exif=exif)
    stored = np.asarray(Image.open(path))
    expected = UPRIGHT[orientation](stored)
    for read in READERS.values():
        np.testing.assert_array_equal(read(path, expected.shape[:2]), expected)
    wrong = (24, 40) if orientation > 4 else (40, 24)
    with pytest.raises(ImageError, match=f"image must be {wrong[0]} pixels high and {wrong[1]} wide, not"):
        read_pixels(path, wrong, resize=False)
    assert read_pixels(path, (5, 7), resize=True).shape == (5, 7, 3)


@pytest.mark.parametrize(
    "suffix, mode", [(".bmp", "RGB"), (".ppm", "RGB"), (".pgm", "L"), (".gif", "P"), (".jp2", "L")]
)
def test_formats_without_orientation(tmp_path: Path, suffix: str, mode: str) -> None:
    image, shown = {"RGB": colours, "L": eight_bits, "P": palette}[mode](1)
    image.save(tmp_path / f"a{suffix}")
    for read in READERS.values():
        np.testing.assert_array_equal(read(tmp_path / f"a{suffix}", (HEIGHT, WIDTH)), shown)


def test_portable_maps_of_other_ranges(tmp_path: Path) -> None:
    values = numbers(0, HEIGHT, WIDTH, high=1001)
    values[0, :2] = 0, 1000
    (tmp_path / "a.pgm").write_bytes(b"P5 %d %d 1000\n" % (WIDTH, HEIGHT) + values.astype(">u2").tobytes())
    words_found = np.rint(values / 1000 * 65535).astype(np.int64)  # Pillow's step to 16 bits
    np.testing.assert_array_equal(
        read_pixels(tmp_path / "a.pgm", (HEIGHT, WIDTH), resize=False), rounded(words_found, 65535)
    )
    levels = numbers(1, HEIGHT, WIDTH)
    data = (levels[::-1] / 255).astype("<f4").tobytes()
    (tmp_path / "a.pfm").write_bytes(b"Pf\n%d %d\n-1.0\n" % (WIDTH, HEIGHT) + data)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.pfm", (HEIGHT, WIDTH), resize=False), grey(levels))


def tiff(order: str, bits: int, photometric: int, data: bytes) -> bytes:
    """A grey TIFF of one strip."""
    tags = [(256, WIDTH), (257, HEIGHT), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, HEIGHT)]
    tags.append((279, len(data)))
    entries = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("photometric", [0, 1], ids=["white is 0", "black is 0"])
@pytest.mark.parametrize("order, bits", [("<", 8), (">", 8), ("<", 16), (">", 16), ("<", 12)])
def test_grey_tiffs(tmp_path: Path, order: str, bits: int, photometric: int) -> None:
    values = numbers(bits, HEIGHT, WIDTH, high=1 << bits)
    data = values.astype(f"{order}u{(bits + 7) // 8}").tobytes()
    if bits == 12:  # two values in three bytes
        first, second = values.reshape(-1, 2).T
        data = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()
    (tmp_path / "a.tif").write_bytes(tiff(order, bits, photometric, data))
    if (order, bits, photometric) in ((">", 16, 0), ("<", 12, 0)):
        with pytest.raises(ImageError, match="image must be a readable image file, not"):
            read_pixels(tmp_path / "a.tif", (HEIGHT, WIDTH), resize=False)
        return
    shown = rounded(values, (1 << bits) - 1)
    np.testing.assert_array_equal(
        read_pixels(tmp_path / "a.tif", (HEIGHT, WIDTH), resize=False), shown if photometric else 255 - shown
    )


class AnyMode(ImageFile.ImageFile):
    """Files of any mode: `ANYMODE`, the mode in eight bytes, the pixels as Pillow keeps them."""

    format = "ANYMODE"

    def _open(self) -> None:
        head = self.fp.read(16)
        if not head.startswith(b"ANYMODE "):
            raise SyntaxError("another format")
        self._mode, self._size = head[8:].decode().strip(), (WIDTH, HEIGHT)
        if self._mode in ("P", "PA"):
            self.palette = ImagePalette.raw("RGB", bytes(np.repeat(np.arange(256, dtype=np.uint8), 3)))
        self.tile = [ImageFile._Tile("raw", (0, 0, WIDTH, HEIGHT), 16, (self._mode, 0, 1))]


GREY = 187  # of 255
PIXELS = {  # mode -> one pixel of that grey, opaque
    "CMYK": bytes([255 - GREY] * 3 + [0]),
    "F": struct.pack("=f", GREY / 255),
    "HSV": bytes([99, 0, GREY]),
    "I;16": struct.pack("<H", GREY * 257),
    "I;16B": struct.pack(">H", GREY * 257),
    "I;16L": struct.pack("<H", GREY * 257),
    "I;16N": struct.pack("=H", GREY * 257),
    "L": bytes([GREY]),
    "LA": bytes([GREY, 255]),
    "La": bytes([GREY, 255]),
    "P": bytes([GREY]),
    "PA": bytes([GREY, 255]),
    "RGB": bytes([GREY] * 3),
    "RGBA": bytes([GREY] * 3 + [255]),
    "RGBa": bytes([GREY] * 3 + [255]),
    "RGBX": bytes([GREY] * 3 + [3]),
    "YCbCr": bytes([GREY, 128, 128]),
}
REFUSED = {
    "I": (
        struct.pack("=i", GREY),
        r"of 8 or 16 bits, or of floats in \[0, 1\], not .*a.any' \(integers with a sign or 32",
    ),
    "LAB": (bytes([GREY, 128, 128]), r"grey or RGB, not .*a.any' \(its mode is LAB: convert it to RGB\)"),
}


def any_mode(folder: Path, mode: str, pixel: bytes) -> Path:
    Image.register_open("ANYMODE", AnyMode)
    path = folder / "a.any"
    path.write_bytes(f"ANYMODE {mode:8}".encode() + pixel * (HEIGHT * WIDTH))
    return path


@pytest.mark.parametrize("mode", sorted(set(Image.MODES) - {"1"}))
def test_every_mode_that_pillow_has(tmp_path: Path, mode: str) -> None:
    size = HEIGHT, WIDTH
    if mode in REFUSED:
        pixel, message = REFUSED[mode]
        with pytest.raises(ImageError, match=f"^image must be {message}"):
            read_pixels(any_mode(tmp_path, mode, pixel), size, resize=False)
    else:
        found = read_pixels(any_mode(tmp_path, mode, PIXELS[mode]), size, resize=False)
        np.testing.assert_array_equal(found, np.full((*size, 3), GREY))


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBA", "RGBa"])
def test_transparent_modes_are_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(
        ImageError, match=r"^image must be opaque, not .*a.any' \(60 of its pixels are transparent: put"
    ):
        read_pixels(any_mode(tmp_path, mode, PIXELS[mode][:-1] + b"\xfe"), (HEIGHT, WIDTH), resize=False)


def refused(path: Path, message: str) -> None:
    """The same words by every way in; the folder to calibrate on lists the file beside a good one."""
    for read in (READERS["--image"], READERS["a frame"], READERS["a folder of frames"]):
        with pytest.raises(ImageError, match=f"^image must be {message}"):
            read(path, (HEIGHT, WIDTH))
    colours(0)[0].save(path.with_name("good.png"))
    ((name, reason),) = read_folder(path.parent, (HEIGHT, WIDTH), 4).skipped
    assert name == path.name and reason and reason in message.replace("\\", "") and "(" not in reason


@pytest.mark.parametrize(
    "suffix, make, transparency, pixel",
    [
        (".png", eight_bits, 7, 7),
        (".png", words, 7, 7),
        (".png", one_bit, 1, 255),
        (".png", colours, (1, 2, 3), (1, 2, 3)),
        (".png", palette, 3, 3),
        (".png", palette, bytes([255, 255, 90]), 2),
        (".gif", palette, 3, 3),
    ],
)
def test_a_transparent_colour(tmp_path: Path, suffix: str, make: Callable, transparency: object, pixel: object) -> None:
    image = make(0)[0].copy()
    image.putpixel((0, 0), pixel)
    image.save(tmp_path / f"a{suffix}", transparency=transparency)
    for read in READERS.values():
        with pytest.raises(ImageError, match="image must be opaque, not|none readable"):
            read(tmp_path / f"a{suffix}", (HEIGHT, WIDTH))


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_a_transparent_colour_that_no_pixel_has(tmp_path: Path, suffix: str) -> None:
    image, shown = palette(0)
    image.save(tmp_path / f"a{suffix}", transparency=200)
    for read in READERS.values():
        np.testing.assert_array_equal(read(tmp_path / f"a{suffix}", (HEIGHT, WIDTH)), shown)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".tif", ".webp"])
def test_several_pictures_are_refused(tmp_path: Path, suffix: str) -> None:
    first, second = colours(0)[0], colours(1)[0]
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=[second, first])
    refused(
        tmp_path / f"a{suffix}",
        r"one picture, not .* \(3 frames or pages: save the one that is meant as a file of its own\)",
    )


def test_previews_of_a_photograph_are_not_the_photograph(tmp_path: Path) -> None:
    first = colours(0)[0].resize((40, 24))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[first.resize((8, 8))])
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
        wanted = np.asarray(image)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.jpg", (24, 40), resize=False), wanted)


@pytest.mark.parametrize("low, high", [(-0.5, 1), (0, 1.5), (0, 255), (0, float("nan")), (0, float("inf"))])
def test_floats_of_another_range_are_refused(tmp_path: Path, low: float, high: float) -> None:
    values = np.full((HEIGHT, WIDTH), low, np.float32)
    values[2, 3] = high
    Image.fromarray(values).save(tmp_path / "a.tif")
    between = f"{values.min():g} and {values.max():g}"
    refused(
        tmp_path / "a.tif",
        rf"of 8 or 16 bits, or of floats in \[0, 1\], not .* \(its floats lie between {between}, which says nothing of "
        r"black and white: scale them to \[0, 1\]\)",
    )


def test_integers_of_32_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(numbers(0, HEIGHT, WIDTH, high=65536).astype(np.int32)).save(tmp_path / "a.tif")
    refused(
        tmp_path / "a.tif",
        r"of 8 or 16 bits, or of floats in \[0, 1\], not .* \(integers with a sign or 32 bits say nothing of black and "
        r"white: save it with 16 bits\)",
    )


def test_a_program_is_no_picture(tmp_path: Path) -> None:
    """PostScript, which Pillow would have Ghostscript run."""
    colours(0)[0].save(tmp_path / "a.eps")
    with pytest.raises(ImageError, match=r"image must be pixels, not .* \(EPS is a program: save the picture as PNG\)"):
        read_pixels(tmp_path / "a.eps", (HEIGHT, WIDTH), resize=False)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of what it finds in damaged files
def test_damaged_files_are_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but a picture or an ImageError comes of a damaged file: 25 damages to each of 21 files."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # heights and widths are damaged too: no time for large ones
    rng, outcomes = np.random.default_rng(0), []
    exif = Image.Exif()
    exif[0x112] = 6
    for number, (suffix, make, options) in enumerate([*FILES, (".jpg", colours, {}), (".gif", palette, {})]):
        path = tmp_path / f"{number}{suffix}"
        make(number)[0].save(path, **options, **({} if suffix == ".gif" else {"exif": exif}))
        whole = path.read_bytes()
        for _ in range(25):
            damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)] if rng.random() < 0.2 else whole)
            for at in rng.integers(0, len(damaged), rng.integers(1, 4)):
                damaged[at] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                outcomes.append(read_pixels(path, (4, 4), resize=True).shape == (4, 4, 3))
            except ImageError as error:
                assert str(error).startswith("image must be ") and "\n" not in str(error)
                outcomes.append(False)
    assert 0.1 < np.mean(outcomes) < 0.9
