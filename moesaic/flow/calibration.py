"""The images that a request's network is calibrated on, and those that it is judged by."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from moesaic.flow.request import Request
from moesaic.flow.stages import Stages
from moesaic.golden.calibrate import calibration_count, calibration_images
from moesaic.golden.cover import Cover, choose_covering, choose_sufficient, expert_tokens, thin_experts
from moesaic.golden.image_choice import FIRST, Coverage, least_tokens
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
    choice : str
        How they are chosen (`golden.image_choice`).
    coverage : Coverage or None
        Of the experts, once images have been chosen for them.
    """

    images: np.ndarray[Any, Any]
    source: str
    unseen: np.ndarray[Any, Any]
    unseen_source: str
    spare: np.ndarray[Any, Any] | None = None
    skipped: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    choice: str = FIRST
    coverage: Coverage | None = None

    def to_dict(self) -> dict[str, Any]:
        """For reports: `calibrated_on`, `skipped` and `warnings`."""
        return {
            "calibrated_on": self.source,
            "skipped": [{"file": name, "reason": reason} for name, reason in self.skipped],
            "warnings": self.warnings,
        }


def calibration(request: Request) -> Calibration:
    """Rendered scenes, noise with natural spectra, or the images of the folder or dataset that the request names.

    Where images shall be chosen for experts, there are `SPARE` times as many more to choose of, if the source has them.

    Raises
    ------
    ImageError
        If there is no such folder or dataset, or no image in it.
    """
    return replace(_found(request), choice=request.choice)


def _found(request: Request) -> Calibration:
    model, count = request.model, calibration_count(request.model)
    few, more = min(max(UNSEEN_TOKENS // model.tokens, 2), UNSEEN), 0 if request.choice == FIRST else SPARE * count
    if request.calibrate is None:
        images, words = calibration_images(model, count + more), sample_words(model.image.channels)
        return Calibration(
            images[:count],
            f"{count} {words}",
            sample_images(range(few), *model.image.size_and_channels),
            f"{few} other {words}",
            images[count:] if more else None,
        )
    where, limit = str(request.calibrate), max(count * 4 // 3, ENOUGH)
    most = limit * (SPARE + 1 if model.mixtures else 1)
    if request.calibrate.is_dir():
        folder = read_folder(request.calibrate, model.image_size, most, model.image.channels)
        spread = [i * len(folder.images) // limit for i in range(limit)]
    elif where == NATURAL:
        made = natural_images(model.image_size, count + few + more, channels=model.image.channels)
        source, seen = "images of noise with natural spectra", made[count : count + few]
        spare = made[count + few :] if more else None
        return Calibration(made[:count], f"{count} {source}", seen, f"{few} other {source}", spare)
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


def given_images(images: np.ndarray[Any, Any], what: str, choice: str = FIRST) -> Calibration:
    """Images that are there already, uint8 [n, channels, H, W]; of `ENOUGH` or more every fourth is to judge by.

    All others are calibrated on: `choice` can only say how well they cover the experts.
    """
    if len(images) < ENOUGH:
        return Calibration(images, f"{len(images)} {what}", images, "the same images", choice=choice)
    seen, unseen = np.delete(images, np.s_[::4], axis=0), images[::4]
    return Calibration(seen, f"{len(seen)} {what}", unseen, f"{len(unseen)} others of them", choice=choice)


def covering(seen: Calibration, model: M3ViT, stages: Stages) -> Calibration:
    """The same, or with others of its source in place of some images: so that every expert of every gate has so many
    tokens, or, where that was not asked for, so that fewer experts go without any.
    """
    least = least_tokens(seen.choice)
    if least is not None and model.network.mixtures:
        return seen if seen.coverage is not None else _for_experts(seen, least, model, stages)
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


def _for_experts(seen: Calibration, least: int, model: M3ViT, stages: Stages) -> Calibration:
    count, pool = len(seen.images), seen.images
    if seen.spare is not None:
        pool = np.concatenate([pool, seen.spare])
    with stages.stage("cover", f"{count} of {len(pool)} images, {least} tokens for every expert"):
        cover = Cover(expert_tokens(model, pool), least)
        chosen = choose_sufficient(cover, count)
        thin = thin_experts(cover, chosen, model.network)
    coverage = Coverage(minimum=least, images=count, pool=len(pool), thin=thin)
    stages.say(f"           {coverage.in_words}")
    source = f"{seen.source}, chosen of {len(pool)} for their experts" if len(pool) > count else seen.source
    return replace(seen, images=pool[chosen], source=source, spare=None, coverage=coverage)


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
