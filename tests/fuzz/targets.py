"""What is fuzzed: files that a stranger may give, and what reads them."""

import dataclasses
import json
import random
import shutil
from abc import ABC, abstractmethod
from importlib import resources
from pathlib import Path
from typing import ClassVar

import numpy as np
from fuzz.mutate import change_bytes, change_json, change_toml
from quantmodels import random_image, random_qmodel

from moesaic.boards.board import board_names, load_board
from moesaic.boards.configuration import configuration_text, on_board, read_configuration
from moesaic.boards.project.write import write_ip, write_project
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.flow.program import Program, load_program
from moesaic.flow.stages import Stages
from moesaic.golden import quantfile
from moesaic.golden.config import PRESETS as MODELS
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.hw.spec.presets import PRESETS
from moesaic.report.data import load_data
from moesaic.report.stored import read_picture, read_report
from moesaic.sim.functional import FunctionalSimulator

__all__ = ["TARGETS", "Target"]

MODEL = dataclasses.replace(MODELS["m3vit-micro"], name="m", image_size=(16, 16), dim=32, depth=2, expert_hidden=16)


class Target(ABC):
    """A kind of file or folder: made once as it should be, then changed at random, and read.

    Parameters
    ----------
    place : Path
        An empty folder of its own.
    """

    name: ClassVar[str]

    def __init__(self, place: Path) -> None:
        self.place = place

    @abstractmethod
    def change(self, source: random.Random) -> None:
        """Put a changed file or folder in place."""

    @abstractmethod
    def read(self) -> None:
        """Do with it what a command does."""


class Boards(Target):
    """`--board FILE`, and the project that `generate` writes for it."""

    name = "boards"

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        folder = resources.files("moesaic.boards") / "data"
        self.texts = [(folder / f"{name}.toml").read_text(encoding="utf-8") for name in board_names()]
        (place / "mine.toml").write_text(self.texts[0], encoding="utf-8")

    def change(self, source: random.Random) -> None:
        (self.place / "mine.toml").write_bytes(change_toml(source.choice(self.texts), source))

    def read(self) -> None:
        board = load_board(self.place / "mine.toml")
        write_project(board, self.place / "out", version="0")
        write_ip(board.accelerator, self.place / "out", part=board.part)


class Configurations(Target):
    """`--config FILE`, by itself and for a board."""

    name = "configurations"

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.texts = [configuration_text(config) for config in PRESETS.values()]
        (place / "mine.toml").write_text(configuration_text(PRESETS["zcu102"]), encoding="utf-8")
        self.board = load_board("zcu102")

    def change(self, source: random.Random) -> None:
        (self.place / "mine.toml").write_bytes(change_toml(source.choice(self.texts), source))

    def read(self) -> None:
        config = read_configuration(self.place / "mine.toml")
        assert configuration_text(config)
        on_board(self.board, read_configuration(self.place / "mine.toml", self.board.accelerator))


class Manifests(Target):
    """`manifest.json` of a program; what is accepted is run by the functional simulator."""

    name = "manifests"

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.folder = place / "program"
        compile_model(random_qmodel(MODEL, 0), PRESETS["micro8"], seed=0).save(self.folder)
        self.text = (self.folder / "manifest.json").read_text(encoding="utf-8")
        self.pixels = random_image(MODEL, 0)

    def change(self, source: random.Random) -> None:
        (self.folder / "manifest.json").write_bytes(change_json(self.text, source))

    def read(self) -> None:
        image = ProgramImage.load(self.folder)
        simulator = FunctionalSimulator(image.config)
        simulator.load(image)
        image.unpack_result(simulator.run(image.tasks[0], self.pixels).result)


class Programs(Target):
    """A whole program folder for `simulate`: origin.json, network.safetensors and the rest; the golden model runs."""

    name = "programs"

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.folder, qmodel = place / "program", random_qmodel(MODEL, 0)
        compile_model(qmodel, PRESETS["micro8"], seed=0).save(self.folder)
        quantfile.save(qmodel, self.folder / "network.safetensors")
        origin = {
            "model": "somebody.py:model",
            "import_options": ImportOptions().to_dict(),
            "import": None,
            "board": "micro8",
            "accelerator": None,
            "tasks": list(MODEL.tasks),
            "seed": 0,
            "blocks": MODEL.depth,
            "batch": 1,
            "together": False,
            "speculate": None,
            "widths": "w8a8",
            "weights": None,
            "parameters_sha256": "0" * 64,
            "network_sha256": quantfile.digest(qmodel),
            "estimated_cycles": dict.fromkeys(MODEL.tasks, 1),
            "calibration": {},
        }
        (self.folder / "origin.json").write_text(json.dumps(origin), encoding="utf-8")
        self.files = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        self.pixels = random_image(MODEL, 0)

    def change(self, source: random.Random) -> None:
        for name, data in self.files.items():
            (self.folder / name).write_bytes(data)
        name = source.choice(sorted(self.files))
        is_text = name.endswith(".json")
        data = self.files[name]
        (self.folder / name).write_bytes(change_json(data.decode(), source) if is_text else change_bytes(data, source))

    def read(self) -> None:
        program: Program = load_program(self.folder, Stages(quiet=True))
        config = program.request.accelerator
        with np.errstate(all="ignore"):
            IntM3ViT.of(program.qmodel, config).run(self.pixels, program.request.tasks[0])


class Results(Target):
    """A result folder for `report` and `ablate`: its numbers, data and pictures.

    Parameters
    ----------
    place : Path
    folder : Path
        Of a run.
    """

    name = "results"

    def __init__(self, place: Path, folder: Path) -> None:
        super().__init__(place)
        self.folder = place / "result"
        self.folder.mkdir()
        for path in folder.iterdir():
            if path.name in ("report.json", "data.npz") or path.suffix == ".png":
                shutil.copyfile(path, self.folder / path.name)
        self.files = {path.name: path.read_bytes() for path in self.folder.iterdir()}

    def change(self, source: random.Random) -> None:
        for name in ("report.json", "data.npz"):
            (self.folder / name).write_bytes(self.files[name])
        if source.randrange(3):
            changed = change_json(self.files["report.json"].decode(), source)
            (self.folder / "report.json").write_bytes(changed)
        else:
            (self.folder / "data.npz").write_bytes(change_bytes(self.files["data.npz"], source))

    def read(self) -> None:
        report = read_report(self.folder)
        load_data(self.folder / "data.npz")
        for files in report.pictures.values():
            for name in files.values():
                read_picture(self.folder / name)


TARGETS: tuple[type[Target], ...] = (Boards, Configurations, Manifests, Programs)
