"""What an object of the interface tells its user: progress to a function, itself to a notebook."""

import html
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from moesaic.flow.stages import Stages

__all__ = ["Progress", "Told", "table"]

Progress = Callable[[str], None]  # told what is going on


class Told(Stages):
    """Stages that tell a function instead of a terminal."""

    def __init__(self, progress: Progress | None) -> None:
        super().__init__(quiet=True)
        self._tell = progress or (lambda text: None)

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        self._tell(text)
        with super().stage(name, text):
            yield

    def note(self, text: str) -> None:
        if text:
            self._tell(text)

    def say(self, text: str, *, style: str = "") -> None:
        self._tell(text.strip())

    def warn(self, text: str) -> None:
        self._tell(f"warning: {text}")


def table(title: str, rows: Mapping[str, Any]) -> str:
    """HTML of an object for a notebook."""
    cells = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items())
    return f"<table><caption>{html.escape(title)}</caption>{cells}</table>"
