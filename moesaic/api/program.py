"""A compiled program, and what a simulation of it found."""

import base64
import html
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from moesaic import job
from moesaic.api.told import Progress, Told, table
from moesaic.boards.board import load_board
from moesaic.errors import InputError
from moesaic.flow.generate import generate_project
from moesaic.flow.program import Program
from moesaic.flow.request import Request
from moesaic.flow.run import Input, Options
from moesaic.golden.calibrate import check_images
from moesaic.report.data import load_data
from moesaic.report.model import Report
from moesaic.report.stored import DATA

__all__ = ["Compiled", "Result"]


@dataclass(frozen=True, repr=False)
class Compiled:
    """A program for an accelerator."""

    program: Program

    @property
    def request(self) -> Request:
        return self.program.request

    @property
    def cycles(self) -> dict[str, int]:
        """Expected for each program if every expert gets as many tokens; estimates."""
        return dict(self.program.estimate)

    def simulate(
        self,
        images: np.ndarray[Any, Any] | None = None,
        *,
        rtl: bool = False,
        out: str | Path | None = None,
        progress: Progress | None = None,
    ) -> "Result":
        """Run the program and compare every value with the integers.

        Parameters
        ----------
        images : uint8 [batch, channels, H, W], or [channels, H, W] of a batch of one, optional
            Sample images if not given.
        rtl : bool
            Simulate the exported Verilog as well: minutes the first time, when a simulator is built.
        out : str or Path, optional
            Folder for the report; a temporary one, which lives as long as the result, if not given.
        progress : callable of str, optional

        Raises
        ------
        InputError, ToolMissing, BuildFailed, SimulationFailed
        """
        given = None
        if images is not None:
            images = images[None] if images.ndim == 3 else images
            check_images(images, self.request.model)
            if len(images) != self.request.batch:
                raise InputError(f"images must be {self.request.batch}, the program's batch, not {len(images)}")
            given = Input(images, "images of the caller", [None] * len(images))
        keep = tempfile.TemporaryDirectory(prefix="moesaic-")
        folder = Path(keep.name) / "result" if out is None else Path(out)
        options = Options(out=folder, rtl=rtl, command="moesaic.api")
        return Result(job.simulate(self.program, options, Told(progress), given=given), folder, keep)

    def generate(self, folder: str | Path, *, progress: Progress | None = None) -> Path:
        """The Vivado project with Verilog, program and driver, in a new folder.

        Raises
        ------
        InputError, FitError
            If the folder holds other things, or the program is for a bare preset, which is no board.
        """
        if self.request.configured:
            raise InputError("board must be one without a configuration of its own")
        generate_project(load_board(self.request.board_origin), Path(folder), Told(progress), program=self.program)
        return Path(folder)

    def __repr__(self) -> str:
        return f"Compiled({self.request.model.name!r}, {self.request.board!r})"

    def _repr_html_(self) -> str:
        size = len(self.program.image.memory)
        rows = {"board": self.request.board, "memory": f"{size / 1e6:.2f} MB"}
        return table(
            f"program of {self.request.model.name}",
            rows | {f"cycles of {name}, estimated": f"{cycles:,}" for name, cycles in self.cycles.items()},
        )


@dataclass(frozen=True, repr=False)
class Result:
    """What a simulation computed and measured.

    Parameters
    ----------
    report : Report
        All of it, as report.json has it.
    folder : Path
        With `report.html` and its pictures.
    """

    report: Report
    folder: Path
    _keep: Any = None

    @property
    def bit_exact(self) -> bool:
        """Whether all models agree in every value."""
        return self.report.bit_exact

    @property
    def cycles(self) -> dict[str, int | None]:
        """Of each program, counted by the RTL; None without it."""
        return {name: task.cycles for name, task in self.report.tasks.items()}

    @cached_property
    def residuals(self) -> dict[str, np.ndarray[Any, Any]]:
        """Integers [items * tokens, dim] behind the last block, by program."""
        data = load_data(self.folder / DATA)
        return {name: data[f"{name}/output"] for name in self.report.tasks if f"{name}/output" in data}

    def __repr__(self) -> str:
        return f"Result(bit_exact={self.bit_exact}, cycles={self.cycles})"

    def _repr_html_(self) -> str:
        rows: dict[str, Any] = {"bit exact": self.bit_exact, "compared": ", ".join(self.report.compared)}
        for name, task in self.report.tasks.items():
            if task.cycles is not None:
                rows[f"{name}: cycles"] = f"{task.cycles:,}"
        shown = next((file for files in self.report.pictures.values() for file in files.values()), None)
        picture = ""
        if shown is not None:
            data = base64.b64encode((self.folder / shown).read_bytes()).decode()
            picture = f'<img src="data:image/png;base64,{data}" alt="{html.escape(shown)}">'
        return table(f"{self.report.model} on {self.report.board}", rows) + picture
