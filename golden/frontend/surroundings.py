"""What surrounds a user's code while it runs here: where its imports are found, what it prints to, torch's defaults."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

__all__ = ["found_from", "printing_to_stderr", "quiet_torch", "usual_torch"]


@contextlib.contextmanager
def found_from(folder: Path) -> Iterator[None]:
    """Modules of a folder and of the current one can be imported, as with `python -m` and `python file.py`."""
    places = list(dict.fromkeys(str(place) for place in (folder.absolute(), Path.cwd())))
    sys.path[:0] = places
    try:
        yield
    finally:
        for place in places:
            with contextlib.suppress(ValueError):
                sys.path.remove(place)


@contextlib.contextmanager
def printing_to_stderr() -> Iterator[None]:
    """What is printed, by Python or by anything else in this process, goes to standard error: the output is ours."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of the two is closed
        kept = None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


@contextlib.contextmanager
def usual_torch() -> Iterator[None]:
    """torch's defaults inside, whatever was set before; outside, what was set before, whatever is set inside."""
    kind, device = torch.get_default_dtype(), torch.get_default_device()
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    try:
        with torch.inference_mode(False):
            yield
    finally:
        torch.set_default_dtype(kind)
        torch.set_default_device(None if device == torch.device("cpu") else device)


@contextlib.contextmanager
def quiet_torch() -> Iterator[None]:
    """Neither warnings nor what torch logs and prints (a whole graph): what goes wrong inside is said in an error."""
    loggers = [logging.getLogger(name) for name in ("torch", *logging.root.manager.loggerDict)]
    ours = [log for log in dict.fromkeys(loggers) if log.name.split(".")[0] == "torch" and not log.disabled]
    for log in ours:
        log.disabled = True
    try:
        silent = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            warnings.simplefilter("ignore")
            yield
    finally:
        for log in ours:
            log.disabled = False
