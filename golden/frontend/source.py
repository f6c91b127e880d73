"""Models by name: `package.module:function` or `file.py:function`, called, captured, and handed on like an imported
one.
"""

import importlib
import importlib.util
import inspect
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from moesaic.errors import MoesaicError
from moesaic.golden.frontend.capture import Captured, capture
from moesaic.golden.frontend.refusal import CaptureError, place_of
from moesaic.golden.frontend.surroundings import found_from, printing_to_stderr, usual_torch
from moesaic.golden.importers.imported import Imported, ImportReport
from moesaic.golden.importers.options import PIXELS, ImportOptions
from moesaic.golden.network import Network
from moesaic.names import check_tasks, name_after

__all__ = ["Subject", "is_function", "open_function", "open_subject"]

_FUNCTION = re.compile(r"(?P<where>[\w./\\-]+):(?P<function>[A-Za-z_]\w*)")
_SIDE = 224
_RANGE = range(8, 4097)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A module with what is known about it; what a user's function may return in place of the module alone.

    Parameters
    ----------
    module : nn.Module
    image : Tensor, [1, 3, H, W], optional
        An example of what it takes.
    tasks : mapping of task to arguments, optional
        The module is called as `module(image, *arguments)` for each.
    pixel_mean, pixel_std : numbers, one for each channel, optional
        How pixels in [0, 1] are normalised before they reach the module, if it does not do so itself.

    Raises
    ------
    CaptureError
        If a task's name is none.
    """

    module: nn.Module
    image: torch.Tensor | None = None
    tasks: Mapping[str, Sequence[Any]] | None = None
    pixel_mean: Sequence[float] | None = None
    pixel_std: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.tasks is not None:
            if not isinstance(self.tasks, Mapping):
                raise CaptureError(f"tasks must be a mapping of name to arguments, not {type(self.tasks).__name__}")
            check_tasks(tuple(self.tasks), error=CaptureError)


def _words(network: Network) -> str:
    """Sizes of a network, as a part of a sentence."""
    heads = " or ".join(dict.fromkeys(str(heads) for heads, _ in network.head_splits))
    routed = dict.fromkeys(network.mixtures.values())
    return (
        f"{network.depth} blocks of {network.dim} channels{f' and {heads} heads' if heads else ''}, "
        f"{network.tokens} tokens" + "".join(f", {experts} experts (top-{top_k})" for top_k, experts in routed)
    )


def is_function(text: str) -> bool:
    """Whether a model's name is `module:function` or `file.py:function`."""
    return _FUNCTION.fullmatch(text) is not None and not Path(text).exists()


def open_function(text: str, options: ImportOptions) -> Imported:
    """Call a user's function and capture what it returns.

    Parameters
    ----------
    text : str
        `package.module:function`, found from the current folder too, or `path/file.py:function`. The function takes no
        arguments and returns an `nn.Module`, a pair of it and an example image, or a `Subject`. Random numbers are
        seeded before it is called.
    options : ImportOptions
        `image_size`, `tasks` (the module is then called with the number of each) and `pixels`, where the function does
        not say them.

    Raises
    ------
    CaptureError
        If there is no such function, it fails, or what it returns cannot be captured.
    """
    # Of what the user's code changes in torch (its defaults, its random numbers) nothing is left afterwards.
    with printing_to_stderr(), found_from(_folder(text)), usual_torch(), torch.random.fork_rng(devices=[]):
        function = _function(text)
        torch.manual_seed(options.seed)
        subject = _subject(text, function)
        return _captured(text, _name(text), subject, options)


def open_subject(subject: Subject, name: str, options: ImportOptions) -> Imported:
    """Capture a module that is there already.

    Parameters
    ----------
    subject : Subject
    name : str
        Of the model, for reports and folders.
    options : ImportOptions
        As of `open_function`.

    Raises
    ------
    CaptureError
        If it cannot be captured.
    """
    with printing_to_stderr(), usual_torch(), torch.random.fork_rng(devices=[]):
        return _captured(f"{type(subject.module).__name__} of the caller", name_after(name, "model"), subject, options)


def _captured(text: str, name: str, subject: Subject, options: ImportOptions) -> Imported:
    refused = [name for name in options.given if name not in ("--image-size", "--tasks", "--pixels")]
    if refused:
        raise CaptureError(f"{', '.join(refused)} must not be given for {text!r}: the module itself says it")
    assumed: list[str] = []
    image, tasks = _image(subject, options, assumed), _tasks(subject, options)
    mean, std = _pixels(subject, options)
    try:
        captured = capture(subject.module, image, name=name, tasks=tasks, pixel_mean=mean, pixel_std=std)
    except CaptureError as error:
        raise _with_size(error, assumed) from error
    stated = subject.pixel_mean is not None or _own_pixels(subject.module) is not None
    if not stated and options.pixels is None and captured.normalised:
        assumed.append("pixels are normalised with mean 0.5 and deviation 0.5 before the module (--pixels)")
    if not captured.normalised and (subject.pixel_mean is not None or options.pixels is not None):
        what = "--pixels" if options.pixels is not None else "pixel_mean"
        raise CaptureError(f"{what} must not be given for {text!r}: the module normalises pixels itself")
    return _imported(text, captured, assumed)


def _with_size(error: CaptureError, assumed: Sequence[str]) -> CaptureError:
    """An error that also says which size was assumed, for another one may be all that is wrong."""
    if not assumed:
        return error
    first, *rest = str(error).split("\n")
    said = f"{first}; images of {_SIDE} x {_SIDE} were assumed: give the model's own with --image-size"
    return CaptureError("\n".join((said, *rest)))


def _imported(text: str, captured: Captured, assumed: list[str]) -> Imported:
    report = ImportReport(
        source=text,
        format=f"nn.Module, captured with torch.export: {_words(captured.network)}",
        assumed=tuple(assumed),
        notes=captured.notes,
        checked=f"equal to the module on random images: outputs within {captured.difference:.1e} of their largest "
        f"value",
        names={name: ", ".join(whose) for name, whose in captured.names.items() if whose},
    )
    return Imported(
        network=captured.network, state=captured.state, heads={}, report=report, modules=dict(captured.heads)
    )


def _name(text: str) -> str:
    found = _FUNCTION.fullmatch(text)
    assert found is not None
    return name_after(found["function"].replace("_", "-"), "model")


def _folder(text: str) -> Path:
    """Where a file's own imports are found: beside it."""
    where = text.rpartition(":")[0]
    return Path(where).parent if where.endswith(".py") else Path.cwd()


def _function(text: str) -> Callable[[], Any]:
    found = _FUNCTION.fullmatch(text)
    if found is None:
        raise CaptureError(f"model must be module:function, not {text!r}")
    module = _module(found["where"], text)
    function = getattr(module, found["function"], None)
    if not callable(function):
        there = [
            name
            for name, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__
        ]
        raise CaptureError(
            f"{text!r} must be a function of {found['where']}, which has {', '.join(sorted(there)) or 'none'}"
        )
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of something built in; calling it will tell
        return function
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if needed:
        raise CaptureError(f"{text!r} must be a function without arguments, not one that needs {', '.join(needed)}")
    return function


def _module(where: str, text: str) -> ModuleType:
    path = Path(where)
    if where.endswith(".py") and not path.is_file():
        raise CaptureError(f"model must be in a file that exists, not {text!r}")
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        spec = importlib.util.spec_from_file_location(f"moesaic_model_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses and pickles look their module up
        spec.loader.exec_module(module)
        return module
    except MoesaicError:
        raise
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if where == missing or where.startswith(f"{missing}."):
            raise CaptureError(
                f"model must be module:function of a module that is installed or in this folder, not {text!r} "
                f"(there is no module {missing!r})"
            ) from error
        raise CaptureError(
            f"module {where!r} must be importable: it needs {missing!r}, which is not installed"
        ) from error
    except (Exception, SystemExit) as error:
        raise CaptureError(_failed(f"module {where!r} must be importable", error)) from error


def _failed(what: str, error: BaseException) -> str:
    said = " ".join(str(error).split())
    return f"{what}: it fails with {type(error).__name__}: {said}{place_of(error)}"


def _subject(text: str, function: Callable[[], Any]) -> Subject:
    try:
        result = function()
    except MoesaicError:
        raise
    except (Exception, SystemExit) as error:
        raise CaptureError(_failed(f"{text!r} must return a module", error)) from error
    if isinstance(result, Subject):
        return result
    if isinstance(result, tuple) and len(result) == 2:
        return Subject(module=result[0], image=result[1])
    if isinstance(result, nn.Module):
        return Subject(module=result)
    raise CaptureError(
        f"{text!r} must return an nn.Module, (module, example image) or a Subject, not {type(result).__name__}"
    )


def _image(subject: Subject, options: ImportOptions, assumed: list[str]) -> torch.Tensor:
    if subject.image is not None:
        own = tuple(subject.image.shape[-2:]) if isinstance(subject.image, torch.Tensor) else None
        if options.image_size is not None and own != tuple(options.image_size):
            raise CaptureError(f"--image-size must be {own}, the example image's, not {options.image_size}")
        return subject.image
    if options.image_size is not None:
        return torch.zeros(1, _channels(subject.module), *options.image_size)
    # Only the example's shape is taken from here: what is recognised is the graph.
    for holder in (subject.module, getattr(subject.module, "config", None)):
        size = getattr(holder, "image_size", None)
        pair = (size, size) if isinstance(size, int) else size
        if isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(s, int) and s in _RANGE for s in pair):
            return torch.zeros(1, _channels(subject.module), *pair)
    assumed.append(f"images are {_SIDE} x {_SIDE} (--image-size)")
    return torch.zeros(1, _channels(subject.module), _SIDE, _SIDE)


def _channels(module: nn.Module) -> int:
    """Channels that the module's first convolution takes; three if it has none."""
    return next((m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d)), 3)


def _tasks(subject: Subject, options: ImportOptions) -> Mapping[str, Sequence[Any]] | None:
    if options.tasks is None:
        return subject.tasks
    if subject.tasks is not None and set(options.tasks) - set(subject.tasks):
        raise CaptureError(f"--tasks must be of {', '.join(subject.tasks)}, not {', '.join(options.tasks)}")
    if subject.tasks is not None:
        return {task: subject.tasks[task] for task in options.tasks}
    return {task: (number,) for number, task in enumerate(options.tasks)}


def _own_pixels(module: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation that a module of timm carries with it."""
    stated = getattr(module, "pretrained_cfg", None)
    if not isinstance(stated, Mapping) or not all(isinstance(stated.get(k), (list, tuple)) for k in ("mean", "std")):
        return None
    return _numbers(stated["mean"]), _numbers(stated["std"])


def _pixels(subject: Subject, options: ImportOptions) -> tuple[Sequence[float], Sequence[float]]:
    mean, std = PIXELS[options.pixels or "half"]
    if options.pixels is None:
        mean, std = (
            own if given is None else _numbers(given)
            for own, given in zip(
                _own_pixels(subject.module) or (mean, std), (subject.pixel_mean, subject.pixel_std), strict=True
            )
        )
    if not all(math.isfinite(m) for m in mean) or not all(0 < s < math.inf for s in std):
        raise CaptureError(
            f"pixel_mean and pixel_std must be a number for each channel, deviations positive, not {mean} and {std}"
        )
    return mean, std


def _numbers(values: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(float(v) for v in values)
    except (TypeError, ValueError) as error:
        raise CaptureError(f"pixel_mean and pixel_std must be a number for each channel, not {values!r}") from error
    if not numbers:
        raise CaptureError("pixel_mean and pixel_std must be a number for each channel, not none")
    return numbers
