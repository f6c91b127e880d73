"""Stages of a run: what is going on, and how long each took."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["Stages"]


class Stages:
    """Times stages and shows them on the terminal (standard error).

    Parameters
    ----------
    quiet : bool
        Show nothing.

    Members
    -------
    wall_s : dict of str to float
        Seconds by stage, in the order they began.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet, self.wall_s = quiet, dict[str, float]()
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._started = time.monotonic()
        self._progress: Progress | None = None
        self._shown: TaskID | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since this object was made."""
        return time.monotonic() - self._started

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Time the block as stage `name` (again: added up) and describe it as `text`.

        On a terminal a line runs while it works; elsewhere a line is written when it is done.
        """
        started = time.monotonic()
        live = self.console.is_terminal and not self.quiet
        progress = Progress(
            SpinnerColumn("dots" if self.console.encoding.startswith("utf") else "line"),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not live,
        )
        with progress:
            self._progress, self._shown = progress, progress.add_task(text, total=None, note="")
            try:
                yield
            finally:
                self._progress = self._shown = None
                seconds = time.monotonic() - started
                self.wall_s[name] = round(self.wall_s.get(name, 0.0) + seconds, 3)
        self.console.print(f"[dim]{seconds:8.1f} s[/]  {escape(text)}")

    def note(self, text: str) -> None:
        """Add to the running stage's line."""
        if self._progress is not None and self._shown is not None:
            self._progress.update(self._shown, note=text)

    def say(self, text: str, *, style: str = "") -> None:
        """A line of its own."""
        self.console.print(text, style=style, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """A line on what may be wrong."""
        self.console.print(f"           [yellow]warning:[/] {escape(text)}", soft_wrap=True)

    @contextmanager
    def following(self, path: Path, total: int) -> Iterator[None]:
        """While the block runs, note how many of `total` marks the simulation has written to the file."""
        done = threading.Event()

        def follow() -> None:
            while not done.wait(0.5):
                try:
                    lines = path.read_text(encoding="utf-8").splitlines()
                    last = json.loads(lines[-1])
                except (OSError, ValueError, IndexError):  # not there yet, or half a line
                    continue
                self.note(f"{len(lines)} of {total} blocks, cycle {last['cycles']:,}")

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
