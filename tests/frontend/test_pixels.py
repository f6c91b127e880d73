"""Modules that normalise pixels themselves, of 0..255 or [0, 1]: the captured model computes what they do on bytes."""

import pytest
import torch
import zoo
from torch import nn

from moesaic.golden.frontend.capture import capture
from moesaic.golden.frontend.refusal import CaptureError
from moesaic.golden.frontend.source import Subject, open_function
from moesaic.golden.importers.options import ImportOptions


class Scaled(nn.Module):
    """Subtracts a mean and divides by a deviation before the patch embedding; one for each channel, or one for all."""

    def __init__(self, mean: object, std: object) -> None:
        super().__init__()
        self.inner = zoo.Conv()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner((x.to(self.mean.dtype) - self.mean) / self.std)


BYTES = torch.arange(256).repeat(3).reshape(1, 3, zoo.SIDE, zoo.SIDE).to(torch.uint8)

MODULES = {  # what is subtracted, what divided by: white as the module takes it, the warning
    "unit": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1, ""),
    "half": (0.5, 0.5, 1, ""),
    "segment-anything": (
        (123.675, 116.28, 103.53),
        (58.395, 57.12, 57.375),
        255,
        "mean 123.7, 116.3, 103.5 and deviation",
    ),
    "one for all": (120.0, 58.0, 255, "mean 120 and deviation 58 are taken as of pixels in 0..255: mean 0.4706 and"),
    "caffe": ((123.68, 116.779, 103.939), 1.0, 255, "are taken as of pixels in 0..255"),
    "bytes / 255": (
        0.0,
        255.0,
        255,
        "mean 0 and deviation 255 are taken as of pixels in 0..255: mean 0 and deviation 1",
    ),
    "bytes / 127.5 - 1": (127.5, 127.5, 255, "are taken as of pixels in 0..255"),
    "[-1, 1]": (-0.03, 0.458, 1, "mean -0.03 and deviation 0.458 are outside the range of pixels in [0, 1]"),
    "strange": (0.5, 3.0, 1, "mean 0.5 and deviation 3 are outside the range of pixels in [0, 1]"),
}


@pytest.mark.parametrize("kind", MODULES)
def test_a_module_that_normalises_itself(kind: str) -> None:
    mean, std, white, warning = MODULES[kind]
    module = zoo.vit(embed=Scaled(mean, std))
    captured = capture(module, zoo.image())
    warnings = [note for note in captured.notes if note.startswith("warning: ")]
    assert len(warnings) == bool(warning) and all(warning in note for note in warnings)
    with torch.no_grad():
        wanted = module.double()(BYTES.double() / 255 * white)
        got = captured.heads["output"].double()(captured.model().double()(BYTES, 0)[-1])[0]
    assert float((got - wanted).abs().max() / wanted.abs().max()) < 1e-6


def test_a_module_of_bytes_is_never_in_doubt() -> None:
    captured = capture(zoo.vit(embed=Scaled(120.0, 58.0)), zoo.image().to(torch.uint8))
    assert captured.network.image.pixel_mean == pytest.approx((120 / 255,) * 3)
    assert not [note for note in captured.notes if note.startswith("warning")]


def opened(monkeypatch: pytest.MonkeyPatch, subject: object, **options: object):
    monkeypatch.setattr("moesaic.golden.frontend.source._function", lambda text: lambda: subject)
    return open_function("models:vit", ImportOptions(image_size=(zoo.SIDE, zoo.SIDE), **options))


def test_normalisation_outside_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a Subject says, of either range; what timm's modules carry with them; and what is said twice."""
    subject = Subject(module=zoo.vit(), pixel_mean=(123.675, 116.28, 103.53), pixel_std=(58.395, 57.12, 57.375))
    got = opened(monkeypatch, subject)
    assert got.network.image.pixel_mean == pytest.approx((0.485, 0.456, 0.406)) and not got.report.assumed
    assert any(note.startswith("warning: pixels: mean 123.7") for note in got.report.notes)
    module = zoo.vit()
    module.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    got = opened(monkeypatch, module)
    assert (got.network.image.pixel_mean, got.network.image.pixel_std) == (
        (0.1, 0.2, 0.3),
        (0.4, 0.5, 0.6),
    ) and not got.report.assumed
    for subject, options, what in (
        (zoo.vit(embed=Scaled(0.5, 0.5)), {"pixels": "half"}, "--pixels"),
        (Subject(module=zoo.vit(embed=Scaled(0.5, 0.5)), pixel_mean=(0.5,) * 3), {}, "pixel_mean"),
    ):
        with pytest.raises(CaptureError, match=f"{what} must not be given for 'models:vit': the module normalises pix"):
            opened(monkeypatch, subject, **options)
