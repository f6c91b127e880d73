"""What a user of a board calls: images in, maps out, in ordinary code without `await`."""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, sleep
from types import TracebackType
from typing import Any

import numpy as np

from moesaic.boards import loop
from moesaic.boards.driver import Driver, RunResult
from moesaic.boards.numpy_heads import FILE, HostHeads, load_heads
from moesaic.boards.power import Power, PowerRecorder, check_duration
from moesaic.boards.pynq import CELL, PynqTransport
from moesaic.boards.status import Status
from moesaic.boards.transport import Transport
from moesaic.boards.xdma import CHANNEL_BYTES, DEVICE, XdmaTransport
from moesaic.compiler.image import ProgramImage
from moesaic.errors import InputError
from moesaic.names import ALL_TASKS

__all__ = ["Accelerator", "Prediction", "load_program_folder"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Prediction:
    """What an image became.

    Parameters
    ----------
    task : str
    map : array, [H, W], or None
        Class of every pixel (uint8), or its depth in metres (float32); None if the program folder has no head for the
        task.
    tokens : array, [tokens, dim] int16
        The last block's output, bit exact.
    counters : mapping
        Of the accelerator, by name.
    seconds : mapping
        `write`, `run`, `read`, `head`: how long each stage took; stages of successive images overlap in `stream`.
    failures : tuple of str
        What earlier attempts ended with.
    image : int
        Number of its image in the batch.
    power : Power or None
        What the board's rails took meanwhile, if it was measured (`Accelerator.measure`).
    """

    task: str
    map: Array | None
    tokens: Array
    counters: Mapping[str, int]
    seconds: Mapping[str, float]
    failures: tuple[str, ...] = ()
    image: int = 0
    power: Power | None = None


def load_program_folder(folder: str | Path) -> tuple[ProgramImage, HostHeads | None]:
    """The program of a folder from `moesaic compile`, with its heads if there are any.

    Raises
    ------
    ProgramImageError, HeadError
        If something in it is damaged, or does not belong together.
    """
    program = ProgramImage.load(folder)
    path = Path(folder) / FILE
    heads = load_heads(path, program_sha256=program.manifest["memory_sha256"]) if path.is_file() else None
    return program, heads


def _planes(image: Array, size: tuple[int, int], channels: int) -> Array:
    """An image as uint8 [channels, H, W], from that or from [H, W, channels]."""
    try:
        array = np.asarray(image)
    except (TypeError, ValueError):  # rows of different lengths
        array = np.empty(0, object)
    if array.dtype == np.uint8 and array.shape == (*size, channels):
        return np.ascontiguousarray(array.transpose(2, 0, 1))
    if array.dtype == np.uint8 and array.shape == (channels, *size):
        return array
    (height, width), colours = size, " RGB" if channels == 3 else ""
    raise InputError(
        f"image must be uint8{colours}, [{height}, {width}, {channels}] or [{channels}, {height}, {width}], not "
        f"{array.dtype} {list(array.shape)}"
    )


class Accelerator(AbstractContextManager["Accelerator"]):
    """An accelerator with its program loaded.

    Made by :meth:`open` on a board with PYNQ, by :meth:`open_card` beside a PCI Express card. Everything else is alike
    wherever the transport leads.

    Parameters
    ----------
    transport : Transport
    program : ProgramImage
    heads : HostHeads or None
    run : function
        Waits for a coroutine; where there is no simulator with coroutines of its own, one event loop does.
    options
        Of `Driver`: slots, watchdog, timeout, retries, apart.

    Raises
    ------
    WrongAccelerator
        If the program was compiled for another configuration.
    """

    def __init__(
        self,
        transport: Transport,
        program: ProgramImage,
        heads: HostHeads | None = None,
        *,
        run: Callable[[Coroutine[Any, Any, Any]], Any] = loop.run,
        **options: Any,
    ) -> None:
        self.heads, self._wait = heads, run
        self.driver = Driver(transport, program, **options)
        try:
            self._wait(self.driver.open())
        except BaseException:
            self._wait(transport.close())
            raise

    @classmethod
    def open(
        cls,
        bitfile: str | Path,
        program: str | Path,
        *,
        cell: str = CELL,
        interrupt: bool = True,
        download: bool = True,
        **options: Any,
    ) -> "Accelerator":
        """Load a bitstream and a program folder on a board that runs PYNQ; see `PynqTransport` and `Driver`.

        The folder is checked before the bitstream is loaded.
        """
        image, heads = load_program_folder(program)
        transport = PynqTransport(bitfile, cell=cell, interrupt=interrupt, download=download)
        return cls(transport, image, heads, **options)

    @classmethod
    def open_card(
        cls,
        program: str | Path,
        *,
        device: str | Path = DEVICE,
        apart: int = CHANNEL_BYTES,
        interrupt: bool = True,
        **options: Any,
    ) -> "Accelerator":
        """A program folder on a PCI Express card whose bitstream is loaded; see `XdmaTransport` and `Driver`.

        The folder is checked before anything is opened.
        """
        image, heads = load_program_folder(program)
        return cls(XdmaTransport(device, interrupt=interrupt), image, heads, apart=apart, **options)

    @property
    def program(self) -> ProgramImage:
        """The program, with the addresses at which it lies."""
        return self.driver.program

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the programs can do."""
        compiled = self.driver.compiled
        return tuple(dict.fromkeys(item.task for name in compiled.tasks for item in compiled.items(name)))

    @property
    def batch(self) -> int:
        """Images of one run."""
        return self.driver.compiled.images

    @property
    def together(self) -> bool:
        """Whether there is a program that computes all tasks at once: `all` of :meth:`run_many`."""
        return ALL_TASKS in self.driver.compiled.tasks

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width that images must have, pixels."""
        height, width = self.driver.compiled.network.image_size
        return height, width

    @property
    def channels(self) -> int:
        """Channels that images must have."""
        return int(self.driver.compiled.network.image.channels)

    def _task(self, task: str | None) -> str:
        task = self.tasks[0] if task is None else task
        if task not in self.tasks:
            raise InputError(f"task must be one of {', '.join(self.tasks)}, not {task!r}")
        return task

    def run(
        self, image: Array, task: str | None = None, *, retries: int | None = None, timeout: float | None = None
    ) -> Prediction:
        """Run one image, uint8 [H, W, channels] or [channels, H, W].

        Parameters
        ----------
        image : array
        task : str or None
            None is the program's first.
        retries : int or None
            Further attempts after a failure; None is what the accelerator was opened with.
        timeout : float or None, seconds

        Raises
        ------
        AcceleratorError, RunIncomplete, RunTimeout, RunLost, AcceleratorBusy
        """
        (prediction,) = self._run([image], self._task(task), retries, timeout)
        return prediction

    def run_many(
        self,
        images: Sequence[Array],
        task: str | None = None,
        *,
        retries: int | None = None,
        timeout: float | None = None,
    ) -> list[Prediction]:
        """Run up to :attr:`batch` images at once, for one task or for `all`: a prediction for each item, all images of
        the first task, then of the next. Fewer images than the program computes are filled up with the last of them,
        whose further results are left out.

        Parameters
        ----------
        images : sequence of array
            Each as for :meth:`run`.
        task : str or None
            `all` where the program folder was compiled for all tasks at once; None is the program's first.
        retries, timeout
            As for :meth:`run`.

        Raises
        ------
        InputError
            If there are none, or more than a batch.
        AcceleratorError, RunIncomplete, RunTimeout, RunLost, AcceleratorBusy
        """
        if not 1 <= len(images) <= self.batch:
            raise InputError(f"images must be from 1 to {self.batch}, the batch of the program, not {len(images)}")
        if task == ALL_TASKS and not self.together:
            raise InputError(
                f"task must be one of {', '.join(self.tasks)}, not {task!r}: compile them together for that"
            )
        return self._run(images, ALL_TASKS if task == ALL_TASKS else self._task(task), retries, timeout)

    def _run(self, images: Sequence[Array], name: str, retries: int | None, timeout: float | None) -> list[Prediction]:
        pixels = self._filled([_planes(image, self.image_size, self.channels) for image in images])
        try:
            result = self._wait(self.driver.run(name, pixels, retries=retries, timeout=timeout))
        except KeyboardInterrupt:
            self._wait(self.driver.settle())
            raise
        return self._predict(result, len(images))

    def _filled(self, pixels: Sequence[Array]) -> Array:
        """As many images as a run takes: the last one again where they are fewer."""
        return np.stack([*pixels, *(pixels[-1] for _ in range(self.batch - len(pixels)))])

    def stream(self, items: Iterable[tuple[Array, str | None]]) -> Iterator[Prediction]:
        """Run (image, task) pairs, in order; the host writes, reads and runs heads while the accelerator works."""
        try:
            for image, task in items:
                pixels, name = _planes(image, self.image_size, self.channels), self._task(task)
                result = self._wait(self.driver.submit(name, self._filled([pixels])))
                if result is not None:
                    yield from self._predict(result, 1)
            result = self._wait(self.driver.collect())
            if result is not None:
                yield from self._predict(result, 1)
        except BaseException:  # also when the caller stops early: nothing may go on running
            self._wait(self.driver.settle())
            raise

    def measure(self, image: Array, task: str | None = None, *, seconds: float = 5.0) -> Prediction:
        """Run an image again and again, and measure what the board takes meanwhile; the last run's prediction.

        First the board is idle for `seconds`, then it runs for as long, without the task's head.

        Parameters
        ----------
        image : array
            As for :meth:`run`.
        task : str or None
        seconds : float
            0.2 or more. The sensors are slower than a run: a few seconds make a mean.

        Raises
        ------
        InputError
            If this is not a board, or `seconds` is out of range.
        FailedRun
            If the board has no power sensors that PYNQ knows, or they cannot be read.
        AcceleratorError, RunIncomplete, RunTimeout, RunLost, AcceleratorBusy
        """
        if not isinstance(self.driver.transport, PynqTransport):
            raise InputError("power must be measured on a board with PYNQ, not in simulation")
        seconds, name = check_duration(seconds), self._task(task)
        pixels = self._filled([_planes(image, self.image_size, self.channels)])
        results: list[RunResult | None] = []
        try:
            recorder = PowerRecorder()
            with recorder.recording():
                sleep(seconds)
                recorder.mark()
                begun = perf_counter()
                while perf_counter() - begun < seconds:
                    results.append(self._wait(self.driver.submit(name, pixels)))
                results.append(self._wait(self.driver.collect()))
                took = perf_counter() - begun
        except BaseException:
            self._wait(self.driver.settle())
            raise
        runs = [result for result in results if result is not None]
        busy = min(1.0, sum(result.seconds["run"] for result in runs) / took)
        power = Power(recorder.rails(), took, len(runs) * self.batch, busy)
        return replace(self._predict(runs[-1], 1)[0], power=power)

    def _predict(self, result: RunResult, images: int) -> list[Prediction]:
        """Of the items of the first `images` images."""
        items, found = self.program.items(result.task), []
        parts = np.split(self.program.unpack_result(result.result, result.task), len(items))
        for item, tokens in zip(items, parts, strict=True):
            if item.image >= images:
                continue
            begun = perf_counter()
            picture = None if self.heads is None else self.heads.map(item.task, tokens)
            seconds = {**result.seconds, "head": perf_counter() - begun}
            found.append(
                Prediction(item.task, picture, tokens, result.counters, seconds, result.failures, image=item.image)
            )
        return found

    def status(self) -> Status:
        """The state of the accelerator; print it."""
        status: Status = self._wait(self.driver.status())
        return status

    def reset(self) -> None:
        """End what is running, and be idle."""
        self._wait(self.driver.soft_reset())

    def close(self) -> None:
        """End what is running and give back the memory; the bitstream stays."""
        self._wait(self.driver.close())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
