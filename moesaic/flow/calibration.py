"""The images that a request's network is calibrated on, and those that it is judged by."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from moesaic.flow.request import Request
from moesaic.flow.stages import Stages
from moesaic.golden.calibrate import calibration_count, calibration_images
from moesaic.golden.cover import Cover, choose_covering, expert_tokens
from moesaic.golden.image_dataset import read_dataset
from moesaic.golden.image_folder import read_folder
from moesaic.golden.image_sources import NATURAL
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.natural import natural_images
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.sample_images import sample_images, sample_words

__all__ = ["Calibration", "calibration", "covering", "doubted", "given_images", "shown"]

SPARE = 3  # times as many images are looked at where experts go without tokens
ENOUGH = 8  # images of a folder, from which on every fourth is kept to judge by
UNSEEN, UNSEEN_TOKENS = (
    16,
    2112,
)  # rendered scenes to judge by, and their tokens, at most; none of them is ever trained on


@dataclass(frozen=True)
class Calibration:
    """Images with their origin.

    Parameters
    ----------
    images : uint8 [n, channels, H, W]
        To calibrate on.
    source : str
    unseen : uint8 [n, channels, H, W]
        To judge by.
    unseen_source : str
    spare : uint8 [m, channels, H, W]
        Further images of the same source, which may take the place of some of `images`.
    skipped : list of (str, str)
        Files that could not be used, and why.
    warnings : list of str
    """

    images: np.ndarray[Any, Any]
    source: str
    unseen: np.ndarray[Any, Any]
    unseen_source: str
    spare: np.ndarray[Any, Any] | None = None
    skipped: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For reports: `calibrated_on`, `skipped` and `warnings`."""
        return {
            "calibrated_on": self.source,
            "skipped": [{"file": name, "reason": reason} for name, reason in self.skipped],
            "warnings": self.warnings,
        }


def calibration(request: Request) -> Calibration:
    """Rendered scenes, noise with natural spectra, or the images of the folder or dataset that the request names.

    Raises
    ------
    ImageError
        If there is no such folder or dataset, or no image in it.
    """
    model = request.model
    few = min(max(UNSEEN_TOKENS // model.tokens, 2), UNSEEN)
    if request.calibrate is None:
        images, words = calibration_images(model), sample_words(model.image.channels)
        return Calibration(
            images,
            f"{len(images)} {words}",
            sample_images(range(few), *model.image.size_and_channels),
            f"{few} other {words}",
        )
    where, limit = str(request.calibrate), max(calibration_count(model) * 4 // 3, ENOUGH)
    most = limit * (SPARE + 1 if model.mixtures else 1)
    if request.calibrate.is_dir():
        folder = read_folder(request.calibrate, model.image_size, most, model.image.channels)
        spread = [i * len(folder.images) // limit for i in range(limit)]
    elif where == NATURAL:
        count = calibration_count(model)
        made = natural_images(model.image_size, count + few, channels=model.image.channels)
        source = "images of noise with natural spectra"
        return Calibration(made[:count], f"{count} {source}", made[count:], f"{few} other {source}")
    else:
        folder = read_dataset(where, model.image_size, most, model.image.channels)
        spread = list(range(limit))
    images, spare = folder.images, None
    if len(images) > limit:
        images, spare = images[spread], np.delete(images, spread, axis=0)
    if len(images) < ENOUGH:
        return Calibration(
            images,
            f"{len(images)} images of {where}",
            images,
            "the same images",
            None,
            folder.skipped,
            [
                *folder.warnings,
                f"figures are of the images that steps were chosen by: {ENOUGH} or more give some to judge by",
            ],
        )
    unseen = images[::4]
    seen = np.delete(images, np.s_[::4], axis=0)
    return Calibration(
        seen,
        f"{len(seen)} images of {where}",
        unseen,
        f"{len(unseen)} other images of it",
        spare,
        folder.skipped,
        folder.warnings,
    )


def given_images(images: np.ndarray[Any, Any], what: str) -> Calibration:
    """Images that are there already, uint8 [n, channels, H, W]; of `ENOUGH` or more every fourth is to judge by."""
    if len(images) < ENOUGH:
        return Calibration(images, f"{len(images)} {what}", images, "the same images")
    seen = np.delete(images, np.s_[::4], axis=0)
    return Calibration(seen, f"{len(seen)} {what}", images[::4], f"{len(images[::4])} others of them")


def covering(seen: Calibration, model: M3ViT, stages: Stages) -> Calibration:
    """The same, or with others of its source in place of some images, so that fewer experts go without tokens."""
    if seen.spare is None or not model.network.mixtures:
        return seen
    count = len(seen.images)
    tokens = expert_tokens(model, seen.images)
    without = Cover(tokens).unused(list(range(count)))
    if not without:
        return seen
    with stages.stage("cover", f"images that use the {without} experts that none of {count} does"):
        cover = Cover(np.concatenate([tokens, expert_tokens(model, seen.spare)]))
        chosen = choose_covering(cover, count)
        left = cover.unused(chosen)
        stages.note(f"{sum(number >= count for number in chosen)} others, {left} left")
    return replace(seen, images=np.concatenate([seen.images, seen.spare])[chosen], spare=None)


def shown(request: Request, stages: Stages) -> Calibration:
    """`calibration` as a stage of a run, with what is to be said about the images: skipped files, warnings."""
    with stages.stage("images", "images to calibrate on"):
        seen = calibration(request)
    for name, reason in seen.skipped:
        stages.say(f"           skipped {name}: {reason}")
    for warning in seen.warnings:
        stages.warn(warning)
    return seen


def doubted(seen: Calibration, qmodel: QuantModel, stages: Stages) -> Calibration:
    """The same with a warning for each mixture that has experts which no image used; they are said, too."""
    found = []
    for block in qmodel.blocks:
        for layer in block.layers:
            if layer.unused:
                numbers, count = ", ".join(map(str, layer.unused)), len(layer.unused)
                found.append(
                    f"{layer.name}: no image that it was calibrated on used {'experts' if count > 1 else 'expert'} "
                    f"{numbers}, whose weights are rounded without regard to inputs: calibrate on images that do"
                )
    for warning in found:
        stages.warn(warning)
    return replace(seen, warnings=[*seen.warnings, *found])
