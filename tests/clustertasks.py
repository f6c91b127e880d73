"""Functions that tests send to workers, which find this module on their path."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from moesaic.errors import FailedRun, InputError
from moesaic.flow.stages import Stages
from moesaic.store import Store

LONG_S = 120  # within which another process does what is waited for


def wait_for(*paths: Path) -> None:
    """Until all of them are there."""
    end = time.monotonic() + LONG_S
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end, f"no {paths}"
        time.sleep(0.02)


def _build(made: Path) -> bool:
    """Whether it was found; a build is a line of the file."""

    def make(folder: Path) -> None:
        with made.open("a") as file:
            file.write(f"{os.getpid()}\n")
        (folder / "simulator").write_text("built")

    return Store("simulators").obtain("key", make).found


@dataclass(frozen=True)
class Built:
    """A need that says in a file whenever it is built."""

    made: Path
    key: str = "key"

    def make(self, stages: Stages) -> None:
        _build(self.made)


def use(made: Path, item: str, stages: Stages) -> tuple[int, bool]:
    """The process, and whether it found what was built; both processes are at it at the same time."""
    for name in ("x", "y"):
        if name == item:
            (made.parent / name).touch()
    wait_for(made.parent / "x", made.parent / "y")
    return os.getpid(), _build(made)


def wait_unless_last(go: Path, item: int, stages: Stages) -> int:
    """Items 0 and 1 keep two workers until the file is there; the next ones are for others."""
    if item < 2:
        wait_for(go)
    return item


def fail(common: None, item: str, stages: Stages) -> None:
    """As the item says."""
    if item == "input":
        raise InputError("rows must be 8, not 9\nand more")
    raise FailedRun("Verilator ended with status 1:\nits log")


def die(common: None, item: int, stages: Stages) -> None:
    """And the worker with it."""
    os.kill(os.getpid(), signal.SIGKILL)


def stay(folder: Path, item: int, stages: Stages) -> None:
    """For ever; its process is named in the folder."""
    (folder / str(os.getpid())).touch()
    time.sleep(3600)
