"""A model, and the integers that are made from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from moesaic.api.program import Compiled
from moesaic.api.told import Progress, Told, table
from moesaic.errors import InputError
from moesaic.flow.calibration import Calibration, calibration, covering, given_images
from moesaic.flow.program import make_program
from moesaic.flow.quantised import FloatModel, load_float, quantised
from moesaic.flow.request import Request, make_request
from moesaic.flow.stages import Stages
from moesaic.golden.calibrate import check_images
from moesaic.golden.evaluation.accuracy import Accuracy, Metric, Networks, accuracy, head_output
from moesaic.golden.frontend.source import Subject, open_subject
from moesaic.golden.image_dataset import labelled_images
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.network import Network
from moesaic.golden.qmodel import QuantModel
from moesaic.names import ALL_TASKS

__all__ = ["Model", "Quantised", "load"]

Images = np.ndarray[Any, Any]


def load(
    model: str | Path | nn.Module,
    *,
    image: torch.Tensor | None = None,
    tasks: Mapping[str, Sequence[Any]] | None = None,
    pixel_mean: Sequence[float] | None = None,
    pixel_std: Sequence[float] | None = None,
    name: str = "",
    seed: int = 0,
    options: ImportOptions | None = None,
    progress: Progress | None = None,
) -> "Model":
    """A model, its parameters and its structure.

    Parameters
    ----------
    model : str, Path or nn.Module
        Name of a built-in model (`m3vit-micro`, `m3vit-tiny`, ...), weights (`golden.importers.open`),
        `module:function`, or a module.
    image : Tensor, [1, 3, H, W], optional
        Of a module: an example of what it takes.
    tasks : mapping of task to arguments, optional
        Of a module: it is called as `module(image, *arguments)` for each.
    pixel_mean, pixel_std : numbers, one for each channel, optional
        Of a module: how pixels in [0, 1] are normalised before they reach it.
    name : str
        Of a module, for reports; its class's name if it is empty.
    seed : int
        Of parameters that are drawn at random.
    options : ImportOptions, optional
        What files of weights do not say.
    progress : callable of str, optional

    Raises
    ------
    InputError, ImportProblem, CaptureError
        If there is no such model, or a part of it cannot be computed by the accelerator; the message names the line.
    """
    options, opened = options or ImportOptions(seed=seed), None
    if isinstance(model, nn.Module):
        subject = Subject(module=model, image=image, tasks=tasks, pixel_mean=pixel_mean, pixel_std=pixel_std)
        opened = open_subject(subject, name or type(model).__name__.lower(), options)
    else:
        given = {"image": image, "tasks": tasks, "pixel_mean": pixel_mean, "pixel_std": pixel_std, "name": name or None}
        if extra := [key for key, value in given.items() if value is not None]:
            raise InputError(f"{', '.join(extra)} must be given with a module, not with {str(model)!r}")
    request = make_request(
        model=opened or str(model), task=ALL_TASKS, seed=seed, options=options, stages=Told(progress)
    )
    return Model(request, load_float(request))


@dataclass(frozen=True, repr=False)
class Model:
    """A float network.

    Parameters
    ----------
    request : Request
        What was asked for so far.
    float_model : FloatModel
        The network with its heads.
    """

    request: Request
    float_model: FloatModel

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def network(self) -> Network:
        """Sizes of all layers."""
        return self.request.model

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.network.tasks

    def quantise(
        self, images: Images | None = None, *, widths: str = "w8a8", progress: Progress | None = None, **settings: Any
    ) -> "Quantised":
        """Integers in place of floats.

        Parameters
        ----------
        images : uint8 [n, channels, H, W], optional
            To calibrate on, before normalisation: of eight or more every fourth is kept to judge by. Rendered street
            scenes if not given.
        widths : str
            `w8a8`, `w4a8` (experts' weights of 4 bits) or `w16a16`.
        settings
            More of `flow.request.make_request`: `hidden`, `target_db`, `budget`, `reconstruct`, `recentre`,
            `calibrate`, `choice`.
        progress : callable of str, optional

        Raises
        ------
        InputError, CalibrationError
            If images or parameters cannot be used.
        """
        stages = Told(progress)
        request = self._again(widths=widths, stages=stages, **settings)
        if images is not None:
            check_images(images, self.network)
        words = "images of the caller"
        seen = calibration(request) if images is None else given_images(images, words, request.choice)
        network = self.float_model if not request.recentre else load_float(request)
        seen = covering(seen, network.model, stages)
        with stages.stage("quantise", "calibration and quantisation"):
            made = quantised(network, request, seen=seen, note=stages.note)
        return Quantised(Model(request, network), made.model, seen, {"widths": widths, **settings})

    def _again(self, *, stages: Stages, **settings: Any) -> Request:
        """The request with other settings."""
        return make_request(
            model=self.request.imported or self.request.model_origin,
            task=settings.pop("task", ALL_TASKS),
            seed=self.request.seed,
            options=self.request.import_options,
            stages=stages,
            **settings,
        )

    def __repr__(self) -> str:
        return f"Model({self.name!r}, tasks={self.tasks})"

    def _repr_html_(self) -> str:
        network = self.network
        mixtures = {name: f"{experts} experts, top-{k}" for name, (k, experts) in network.mixtures.items()}
        return table(
            f"model {self.name}",
            {
                "tasks": ", ".join(self.tasks),
                "blocks": network.depth,
                "channels": network.dim,
                "tokens": network.tokens,
                "image": " x ".join(map(str, network.image.shape)),
                "mixtures": ", ".join(f"block {number}: {text}" for number, text in mixtures.items()) or "none",
                "weights": f"{network.weight_bytes / 1e6:.2f} MB with 8 bits, {self.float_model.kind}",
            },
        )


@dataclass(frozen=True, repr=False)
class Quantised:
    """A network of integers, beside the float one that it was made from.

    Parameters
    ----------
    model : Model
    integers : QuantModel
    calibrated : Calibration
    settings : mapping of str to Any
    """

    model: Model
    integers: QuantModel
    calibrated: Calibration
    settings: Mapping[str, Any]

    def outputs(self, image: Images, task: str | None = None) -> Any:
        """What the integers and the task's head make of an image, uint8 [channels, H, W]: an array, or a tuple of them.

        Raises
        ------
        InputError
            If the task is unknown or has no head.
        """
        task, accelerator = self._task(task), self.model.request.accelerator
        run = IntM3ViT.of(self.integers, accelerator)
        step = np.float32(self.integers.blocks[-1].residual_step)
        return head_output(self._head(task), torch.from_numpy(run.run(image, task)[-1] * step))

    def evaluate(
        self,
        dataset: Any,
        metric: str | Metric = "top1",
        *,
        task: str | None = None,
        limit: int = 1000,
        progress: Progress | None = None,
    ) -> Accuracy:
        """A metric of the float network and of the integers on a data set.

        Parameters
        ----------
        dataset : torch.utils.data.Dataset, sequence or iterable
            Items are pairs of image and target, or dictionaries with `image` and `label`. Images are Pillow's, bytes,
            or floats in [0, 1], before normalisation.
        metric : str or callable
            `top1`, `top5`, or a function of the lists of outputs and targets.
        task : str, optional
            The model's first if not given.
        limit : int
            Items at most, evenly spread.
        progress : callable of str, optional

        Raises
        ------
        InputError
            If an item is no image with a target, or the task is unknown or has no head.
        """
        tell, task, accelerator = progress or (lambda text: None), self._task(task), self.model.request.accelerator
        image = self.model.network.image
        networks = Networks(
            self.model.float_model.model, IntM3ViT.of(self.integers, accelerator), self._head(task), task
        )
        items = labelled_images(dataset, image.size, image.channels, limit)
        return accuracy(networks, items, metric=metric, progress=lambda done: tell(f"{done} items"))

    def compile(
        self, board: str | None = None, *, task: str = ALL_TASKS, batch: int = 1, progress: Progress | None = None
    ) -> "Compiled":
        """The program for a board's accelerator.

        Parameters
        ----------
        board : str, optional
            Name of a board or of an accelerator preset, a board's TOML file, or `auto`; the model's usual one if not
            given.
        task : str
            A task, or `all`.
        batch : int
            Images that one program computes.
        progress : callable of str, optional

        Raises
        ------
        InputError, BoardError, FitError, CompileError
            If there is no such board, or the model does not fit.
        """
        stages = Told(progress)
        request = self.model._again(stages=stages, board=board, task=task, batch=batch, **self.settings)
        return Compiled(make_program(request, stages, seen=self.calibrated)[0])

    def _task(self, task: str | None) -> str:
        if task is not None and task not in self.model.tasks:
            raise InputError(f"task must be one of {', '.join(self.model.tasks)}, not {task!r}")
        return self.model.tasks[0] if task is None else task

    def _head(self, task: str) -> nn.Module:
        if task not in self.model.float_model.heads:
            raise InputError(
                f"task must be one with a head, not {task!r}, of which {self.model.name} has the blocks alone"
            )
        return self.model.float_model.heads[task]

    def __repr__(self) -> str:
        return f"Quantised({self.model.name!r}, {self.integers.widths})"

    def _repr_html_(self) -> str:
        rows = {"widths": self.integers.widths, "calibrated on": self.calibrated.source}
        return table(f"integers of {self.model.name}", rows)
