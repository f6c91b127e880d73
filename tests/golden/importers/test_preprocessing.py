"""Pre-processing as files beside the weights state it, against what `transformers`' own processor and timm compute."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from published import IMAGENET
from safetensors.torch import save_file

from moesaic.golden.importers.imported import Imported
from moesaic.golden.importers.open import open_model
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.importers.preprocessing import read_preprocessing
from moesaic.golden.importers.problem import ImportProblem
from moesaic.golden.normalisation import of_bytes, recognised

transformers = pytest.importorskip("transformers")

IMAGE = np.arange(256, dtype=np.uint8).reshape(16, 16)


def written(folder: Path, said: object, name: str = "preprocessor_config.json") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(said))
    return folder


def taken(folder: Path) -> np.ndarray:
    """What the accelerator's model makes of the bytes 0..255, by channel."""
    found = read_preprocessing(folder, pixels=None).normalisation
    assert found is not None
    return np.stack([(IMAGE / 255 - m) / s for m, s in zip(found.mean, found.std, strict=True)])


MEANS = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), ([0.5] * 3, [0.5] * 3), (0.5, 0.25), ([0.5], [0.5])


def test_what_transformers_computes(tmp_path: Path) -> None:
    """Every combination of scaling and normalisation against the library's own arithmetic on bytes."""
    rgb, count = np.stack([IMAGE] * 3, axis=-1), 0
    flags = itertools.product((None, True, False), (None, 1 / 255, 1 / 127.5, 1.0), (None, True, False), MEANS)
    for rescale, factor, normalise, (mean, std) in flags:
        said = {"do_resize": False, "do_rescale": rescale, "rescale_factor": factor, "do_normalize": normalise}
        bytes_in = rescale is False or factor == 1.0
        white = 255 * (factor or 1 / 255) if not bytes_in else 255.0
        said |= {"image_mean": np.multiply(mean, white).tolist(), "image_std": np.multiply(std, white).tolist()}
        said = {key: value for key, value in said.items() if value is not None}
        folder = written(tmp_path / str(count), said)
        count += 1
        if bytes_in and normalise is False:
            with pytest.raises(
                ImportProblem, match="do_normalize must be true where pixels are not rescaled, or --pix"
            ):
                read_preprocessing(folder, pixels=None)
            continue
        full = {**said, "image_mean": np.broadcast_to(said["image_mean"], 3).tolist()}
        full["image_std"] = np.broadcast_to(said["image_std"], 3).tolist()
        theirs = transformers.ViTImageProcessor(**full)(rgb, return_tensors="np").pixel_values[0]
        np.testing.assert_allclose(taken(folder), theirs, rtol=1e-5, atol=2e-5, err_msg=str(said))
        assert not read_preprocessing(folder, pixels=None).remarks((16, 16))[1:], said
    assert count == 144


@pytest.mark.parametrize(
    "said, mean, std, warning",
    [
        ({"do_normalize": False}, 0, 1, ""),
        ({"rescale_factor": 1 / 127.5, "image_mean": 1, "image_std": 1}, 0.5, 0.5, ""),
        ({"rescale_factor": 1 / 127.5, "offset": True, "do_normalize": False}, 0.5, 0.5, ""),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False}, 0.5, 0.5, ""),
        ({"do_rescale": False, "image_mean": 127.5, "image_std": 127.5}, 0.5, 0.5, ""),
        ({"do_rescale": False, "image_mean": 0.5, "image_std": 0.5}, 0.5, 0.5, "do_rescale is false, and image_mean"),
        (
            {"image_mean": 127.5, "image_std": 127.5},
            0.5,
            0.5,
            "mean 127.5 and deviation 127.5 are taken as of pixels in 0",
        ),
        ({"image_mean": -0.25, "image_std": 0.5}, -0.25, 0.5, "mean -0.25 and deviation 0.5 are outside the range of"),
        ({"image_mean": 0.5, "image_std": 4}, 0.5, 4, "mean 0.5 and deviation 4 are outside the range of pixels"),
    ],
)
def test_kin_of_scaling(tmp_path: Path, said: dict, mean: float, std: float, warning: str) -> None:
    found = read_preprocessing(written(tmp_path / "hf", said), pixels=None)
    assert found.normalisation is not None
    assert found.normalisation.mean == pytest.approx((mean,) * 3) and found.normalisation.std == pytest.approx(
        (std,) * 3
    )
    (line,) = [text for text in found.remarks((16, 16)) if text.startswith("warning: ")] or [""]
    assert line.startswith(f"warning: preprocessor_config.json: {warning}") if warning else not line


@pytest.mark.parametrize(
    "said, message",
    [
        ([], "preprocessor_config.json must be an object in braces, not list"),
        ({"image_mean": [0.5, 0.5], "image_std": 0.5}, r"image_mean must be one number or three, not \[0.5, 0.5\]"),
        ({"image_mean": "half", "image_std": 0.5}, "image_mean must be one number or three, not 'half'"),
        ({"image_mean": True, "image_std": 0.5}, "image_mean must be one number or three, not True"),
        ({"image_mean": 0.5}, "image_std must be given with image_mean, not None"),
        ({"image_mean": 0.5, "image_std": [0.5, 0, 0.5]}, r"image_std must be positive, not \[0.5, 0, 0.5\]"),
        ({"do_rescale": "yes"}, "do_rescale must be true or false, not 'yes'"),
        ({"rescale_factor": 0}, "rescale_factor must be a positive number, not 0"),
        (
            {"rescale_factor": 0.5},
            r"image_mean must be given with image_std, as pixels are scaled.*--pixels\), not None",
        ),
        (
            {"do_rescale": False, "do_normalize": False},
            "do_normalize must be true where pixels are not rescaled, or --pi",
        ),
        (
            {"do_flip_channel_order": True},
            "do_flip_channel_order must be false: pixels enter in the order red, green, b",
        ),
        (
            {"size": {"edge": 3}},
            "size must be height and width, shortest_edge, longest_edge, or max_height and max_wid",
        ),
        ({"size": "large"}, "size must be one positive whole number or two, not 'large'"),
        ({"resample": 9}, r"resample must be one of 0 \(nearest\), 1 \(lanczos\).*, not 9"),
    ],
)
def test_fields_that_cannot_be(tmp_path: Path, said: object, message: str) -> None:
    with pytest.raises(ImportProblem, match=message):
        read_preprocessing(written(tmp_path / "hf", said), pixels=None)


EXACT = {"height": 32, "width": 32}


@pytest.mark.parametrize(
    "said, steps",
    [
        ({"size": EXACT, "resample": 2}, ""),
        ({"size": 32, "resample": 2}, ""),
        ({"size": [32, 32], "do_resize": True}, ""),
        ({"size": EXACT, "do_resize": False}, ""),
        ({"size": EXACT, "resample": 3}, "scales to 32x32 (bicubic)"),
        ({"size": {"height": 40, "width": 32}}, "scales to 40x32"),
        ({"size": 64, "crop_size": 32, "resample": 3}, "scales to 64x64, then crops the centre to 32x32 (bicubic)"),
        (
            {"size": {"shortest_edge": 36}, "do_center_crop": True, "crop_size": EXACT},
            "scales the shorter edge to 36, proportions kept, then crops the centre to 32x32",
        ),
        (
            {"size": {"shortest_edge": 32, "longest_edge": 64}},
            "scales the shorter edge to 32 and the longer edge to at most 64, proportions kept",
        ),
        (
            {"size": {"max_height": 32, "max_width": 48}},
            "scales the height to at most 32 and the width to at most 48, proportions kept",
        ),
        ({"do_resize": False, "do_center_crop": True, "crop_size": 32}, "crops the centre to 32x32"),
    ],
)
def test_sizes_in_all_spellings(tmp_path: Path, said: dict, steps: str) -> None:
    """What is done to reach a size, and is not done here, is said; with whichever processor's name."""
    for number, name in enumerate(("ViTImageProcessor", "BitImageProcessor", "SomethingElse")):
        folder = written(tmp_path / str(number), {"image_processor_type": name, **said})
        lines = read_preprocessing(folder, pixels=None).remarks((32, 32))
        rest = (
            "; here --resize and --calibrate scale to 32x32 (bilinear): prepare images as it says for the same pixels"
        )
        assert lines == ([f"preprocessor_config.json {steps}{rest}"] if steps else [])


def test_further_steps_are_named(tmp_path: Path) -> None:
    folder = written(tmp_path / "hf", {"do_pad": True, "do_thumbnail": False, "do_convert_rgb": True})
    assert read_preprocessing(folder, pixels=None).remarks((32, 32)) == [
        "warning: preprocessor_config.json asks for do_pad, which is not done here"
    ]


def vit(folder: Path, size: int = 32) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    transformers.ViTModel(transformers.ViTConfig(**sizes, image_size=size, patch_size=16)).save_pretrained(folder)


def test_processors_of_a_transformers_folder(tmp_path: Path) -> None:
    """As its library writes them, alone and within another processor's file; and an option in their place."""
    folder = tmp_path / "hf"
    vit(folder)
    processor = transformers.ViTImageProcessor(image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6], size=EXACT)
    processor.save_pretrained(folder)
    got = open_model(str(folder), ImportOptions())
    assert (got.network.image.pixel_mean, got.network.image.pixel_std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert "mean and deviation of pixels are those of preprocessor_config.json" in got.report.notes
    assert not got.report.assumed
    said = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    written(folder, {"processor_class": "Some", "image_processor": said}, "processor_config.json")
    got = open_model(str(folder), ImportOptions())
    assert got.network.image.pixel_mean == (0.1, 0.2, 0.3) and not got.report.assumed
    got = open_model(str(folder), ImportOptions(pixels="imagenet"))
    assert (got.network.image.pixel_mean, got.network.image.pixel_std) == IMAGENET
    assert "--pixels imagenet is taken, whatever processor_config.json says of mean and deviation" in got.report.notes


def timm(folder: Path, config: object) -> Imported:
    """A ViT of 6 patches of 16 pixels, with timm's names."""
    dim, rng = 64, torch.Generator().manual_seed(0)
    shapes = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, 7, dim),
        "patch_embed.proj.weight": (dim, 3, 16, 16),
        "patch_embed.proj.bias": (dim,),
    }
    for name, out, inputs in (
        ("attn.qkv", 3 * dim, dim),
        ("attn.proj", dim, dim),
        ("mlp.fc1", 96, dim),
        ("mlp.fc2", dim, 96),
    ):
        shapes |= {f"blocks.0.{name}.weight": (out, inputs), f"blocks.0.{name}.bias": (out,)}
    for name in ("blocks.0.norm1", "blocks.0.norm2"):
        shapes |= {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
    folder.mkdir()
    save_file({name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}, folder / "model.safetensors")
    written(folder, config, "config.json")
    return open_model(str(folder), ImportOptions())


PRETRAINED = {
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.3, 0.4],
    "input_size": [3, 32, 48],
    "interpolation": "bicubic",
    "crop_pct": 0.9,
    "fixed_input_size": True,
}


@pytest.mark.parametrize("nested", [True, False], ids=["pretrained_cfg", "as before 2023"])
def test_timms_config(tmp_path: Path, nested: bool) -> None:
    config = {"pretrained_cfg": PRETRAINED} if nested else PRETRAINED
    got = timm(
        tmp_path / "timm", {"architecture": "vit_small_patch16_224", "num_features": 64, "num_heads": 4, **config}
    )
    assert (got.network.image.pixel_mean, got.network.image.pixel_std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert got.network.image_size == (32, 48) and got.network.head_splits[0][0] == 4
    assert got.report.assumed == ("LayerNorm with epsilon 1e-06, as published",)
    assert (
        "config.json scales the shorter edge to 35, proportions kept, then crops the centre to 32x48 (bicubic); here "
        "--resize and --calibrate scale to 32x48 (bilinear): prepare images as it says for the same pixels"
    ) in got.report.notes


def test_ranges_of_normalisation() -> None:
    """Plainly of pixels in [0, 1]: as it is. Plainly of 0..255: divided. All else: as it is; both said."""
    for mean, std in (((0, 0, 0), (1, 1, 1)), IMAGENET, ((0.5,) * 3, (0.5,) * 3)):
        found = recognised(mean, std)
        assert (found.mean, found.std, found.white, found.warning) == (tuple(mean), tuple(std), 1, "")
        scaled = recognised([255 * m for m in mean], [255 * s for s in std])
        assert scaled.mean == pytest.approx(mean) and scaled.std == pytest.approx(std)
        assert scaled.white == 255 and "taken as of pixels in 0..255" in scaled.warning
        assert of_bytes([255 * m for m in mean], [255 * s for s in std]).warning == ""
    caffe = recognised((123.68, 116.779, 103.939), (1, 1, 1))
    assert caffe.white == 255 and caffe.std == (1 / 255,) * 3
    for mean, std in (
        ((-0.1,) * 3, (0.5,) * 3),
        ((0.5,) * 3, (3,) * 3),
        ((300,) * 3, (50,) * 3),
        ((5,) * 3, (900,) * 3),
    ):
        found = recognised(mean, std)
        assert (found.mean, found.std, found.white) == (mean, std, 1) and "outside the range" in found.warning
