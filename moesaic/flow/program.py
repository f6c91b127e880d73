"""The compile stage: from a request to a program folder, and back from the folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.markup import escape

from moesaic.boards.numpy_heads import FILE as HEADS
from moesaic.boards.numpy_heads import save_heads
from moesaic.compiler.cost import estimate, mean_tokens
from moesaic.compiler.emit import IMAGE_PIECE
from moesaic.compiler.image import ProgramImage, ProgramImageError
from moesaic.compiler.ir import Graph
from moesaic.compiler.options import CompileOptions
from moesaic.compiler.pipeline import EVERYTHING, Compilation, compile_all, compile_graphs
from moesaic.compiler.program_file import FILE as PROGRAM_FILE
from moesaic.compiler.program_file import to_binary
from moesaic.compiler.weights import Piece
from moesaic.errors import InputError
from moesaic.flow.calibration import Calibration, covering, doubted, shown
from moesaic.flow.export_heads import host_heads
from moesaic.flow.model_fit import fitting
from moesaic.flow.origin import FILE as ORIGIN
from moesaic.flow.origin import read_origin, unknown_network
from moesaic.flow.quantised import FloatModel, load_float, quantised
from moesaic.flow.request import Request, make_request
from moesaic.flow.stages import Stages
from moesaic.golden import quantfile
from moesaic.golden.belonging import Belonging, check_belonging
from moesaic.golden.finer import FinerLayer
from moesaic.golden.image_choice import FIRST
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.prefix import narrow_quantised
from moesaic.golden.qmodel import DEFAULT_WIDTHS, WIDTHS, QuantModel
from moesaic.golden.quantcheck import check_quantised
from moesaic.hw.pipeline_latency import timing
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.names import ALL_TASKS

__all__ = ["MARKER", "Program", "load_program", "make_program", "save_program"]

MARKER = "manifest.json"  # by which a program folder is known
_NETWORK = "network.safetensors"


@dataclass(frozen=True)
class Program:
    """A compiled network with the models it must agree with.

    Parameters
    ----------
    request : Request
    network : FloatModel or None
        None where the folder that the program is from does not lead to it.
    qmodel : QuantModel
    image : ProgramImage
    graphs : mapping of name to Graph
        Scheduled: what the instructions of each program were made from.
    estimate : dict of name to int
        Cycles that the compiler expects if every expert gets as many tokens.
    options : CompileOptions
    calibrated : dict
        On which images: `calibrated_on`, with `skipped` files and `warnings`; empty if that is not known.
    not_compared : str
        Why there is no float network; empty if there is one.
    finer : tuple of FinerLayer
        Layers that were given more bits.
    """

    request: Request
    network: FloatModel | None
    qmodel: QuantModel
    image: ProgramImage
    graphs: Mapping[str, Graph]
    estimate: dict[str, int]
    options: CompileOptions = EVERYTHING
    calibrated: dict[str, Any] = field(default_factory=dict)
    not_compared: str = ""
    finer: tuple[FinerLayer, ...] = ()

    @property
    def compiled_from(self) -> FloatModel:
        """The float network; `InputError` if it is not at hand."""
        if self.network is None:
            raise InputError(f"float network of {self.request.model.name} must be at hand: {self.not_compared}")
        return self.network

    @cached_property
    def belonging(self) -> Belonging | None:
        """How far the quantised weights are from the float ones, if those are at hand; `ForeignWeights` if they are not
        theirs.
        """
        return None if self.network is None else check_belonging(self.network.model, self.qmodel)

    @property
    def network_sha256(self) -> str:
        """Digest of the quantised network (hex)."""
        return quantfile.digest(self.qmodel)


def _estimates(compilation: Compilation) -> dict[str, int]:
    accelerator, result = compilation.image.config, {}
    for task, graph in compilation.scheduled.items():
        words = sum(op.weight_words or 0 for op in graph.ops if op.weights == IMAGE_PIECE)
        pieces = compilation.store.pieces | {IMAGE_PIECE: Piece(IMAGE_PIECE, 0, words)}
        costs = estimate(graph, pieces, accelerator, mean_tokens, timing=timing(accelerator))
        result[task] = round(max(cost.end for cost in costs))
    return result


def make_program(
    request: Request,
    stages: Stages,
    *,
    cache: Path | None = None,
    options: CompileOptions = EVERYTHING,
    seen: Calibration | None = None,
) -> tuple[Program, Compilation]:
    """Quantise (or find in the cache) and compile.

    Parameters
    ----------
    seen : Calibration, optional
        Images to calibrate on; those that the request names if not given.

    Raises
    ------
    CompileError
        If the model does not fit the accelerator.
    WeightError, InputError
        If its parameters cannot be used.
    """
    request = fitting(request, stages)
    with stages.stage("weights", f"float {request.model.name}"):
        network = load_float(request)
    seen = covering(shown(request, stages) if seen is None else seen, network.model, stages)
    with stages.stage("quantise", "calibration and quantisation"):
        made = quantised(network, request, cache=cache, seen=seen, note=stages.note)
        stages.note("from the cache" if made.found else "")
    qmodel = made.model
    for row in made.finer:
        stages.say(f"           {row.in_words}")
    seen = doubted(seen, qmodel, stages)
    if request.hidden is not None:
        network, qmodel = network.narrowed(request), narrow_quantised(qmodel, request.model)
    with stages.stage("compile", f"program for {request.board}, {', '.join(request.tasks)}"):
        compilation = compile_all(
            qmodel,
            request.accelerator,
            tasks=request.compiled,
            blocks=request.blocks,
            speculate=request.speculate,
            seed=request.seed,
            options=options,
        )
    program = Program(
        request,
        network,
        qmodel,
        compilation.image,
        compilation.scheduled,
        _estimates(compilation),
        options,
        seen.to_dict(),
        finer=made.finer,
    )
    return program, compilation


def save_program(program: Program, folder: Path) -> None:
    """Write `memory.bin`, `manifest.json`, the same for hosts in C, the task heads for the host, and what a simulation
    compares with.
    """
    request = program.request
    program.image.save(folder)
    (folder / PROGRAM_FILE).write_bytes(to_binary(program.image))
    quantfile.save(program.qmodel, folder / _NETWORK)
    heads = host_heads(program.compiled_from.heads, program.qmodel, blocks=request.blocks)
    save_heads(folder / HEADS, heads, program_sha256=program.image.manifest["memory_sha256"])
    origin = {
        "model": request.model_origin,
        "import_options": request.import_options.to_dict(),
        "import": None if request.imported is None else request.imported.report.to_dict(),
        "board": request.board_origin,
        "accelerator": request.accelerator.to_dict() if request.configured else None,
        "tasks": list(request.tasks),
        "batch": request.batch,
        "together": request.together,
        "seed": request.seed,
        "blocks": request.blocks,
        "speculate": request.speculate,
        "widths": request.widths,
        "recentre": request.recentre,
        "hidden": request.hidden,
        "target_db": request.target_db,
        "budget": request.budget,
        "reconstruct": request.reconstruct,
        "choice": request.choice,
        "finer": [row.to_dict() for row in program.finer],
        "weights": None if request.weights is None else str(request.weights.absolute()),
        "parameters_sha256": program.compiled_from.digest,
        "network_sha256": program.network_sha256,
        "estimated_cycles": program.estimate,
        "calibration": program.calibrated,
    }
    (folder / ORIGIN).write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")


def _read(folder: Path) -> tuple[ProgramImage, dict[str, Any], QuantModel]:
    """Image, origin and quantised network of a program folder."""
    image = ProgramImage.load(folder)
    try:
        origin = read_origin(folder, image)
        qmodel = quantfile.load(folder / _NETWORK)
        finer = {row["name"]: row["finer"] for row in origin.get("finer", [])}
        check_quantised(qmodel, image.network, WIDTHS[origin.get("widths", DEFAULT_WIDTHS)], finer)
        if quantfile.digest(qmodel) != origin["network_sha256"]:
            raise ValueError(f"SHA-256 of the network must be {origin['network_sha256']}")
    except ProgramImageError as error:
        raise ProgramImageError(f"program image '{folder}': {error}") from error
    except (OSError, ValueError) as error:
        raise ProgramImageError(f"program image '{folder}': {_NETWORK} is damaged: {error}") from error
    return image, origin, qmodel


def _lowered(qmodel: QuantModel, request: Request) -> dict[str, Graph]:
    """Scheduled graphs of a request's programs."""
    return {
        batch.name: compile_graphs(
            qmodel, request.accelerator, task=batch, blocks=request.blocks, speculate=request.speculate
        )[1]
        for batch in request.compiled
    }


def load_program(folder: Path, stages: Stages, *, model: str | None = None) -> Program:
    """Read what `save_program` wrote. Nothing in the folder is run: it is data, whoever it comes from.

    Parameters
    ----------
    folder : Path
    stages : Stages
        Is told if there is no float network to compare with.
    model : str or None
        What the program was compiled from, where the folder alone may not lead there: `module:function`, or weights
        that have moved.

    Raises
    ------
    InputError, ProgramImageError
        If the folder is none, is damaged, or the float model is no longer the one that was compiled.
    """
    if not (folder / MARKER).is_file():
        raise InputError(f"program must be a folder that `moesaic compile` wrote, not {str(folder)!r}")
    with stages.stage("load", f"program in {escape(str(folder))}"):
        image, origin, qmodel = _read(folder)
    unknown = unknown_network(origin) if model is None else ""
    request = make_request(
        model=origin["model"] if model is None else model,
        task=ALL_TASKS,
        batch=origin["batch"],
        together=origin["together"],
        board=origin["board"] or None,
        accelerator=None if origin["accelerator"] is None else AcceleratorConfig(**origin["accelerator"]),
        seed=origin["seed"],
        blocks=origin["blocks"],
        speculate=origin["speculate"],
        widths=origin.get("widths", DEFAULT_WIDTHS),
        recentre=origin.get("recentre", False),
        hidden=origin.get("hidden"),
        target_db=origin.get("target_db"),
        budget=origin.get("budget"),
        reconstruct=origin.get("reconstruct", False),
        choice=origin.get("choice", FIRST),
        weights=None if origin["weights"] is None or unknown else Path(origin["weights"]),
        options=ImportOptions.from_dict(origin["import_options"]),
        sizes=image.network if unknown else None,
        stages=stages,
    ).replace(tasks=tuple(origin["tasks"]))
    if request.accelerator.hash != image.config.hash:
        raise InputError(
            f"program must be compiled for today's {request.board} ({request.accelerator.hash[:12]}), "
            f"not {image.config.hash[:12]}: compile again"
        )
    if request.model != image.network:
        raise InputError(
            f"model of the program must be {request.model.name} as it is today, not the {image.network.name} of its "
            f"manifest: compile again"
        )
    network = None
    if unknown:
        stages.say(f"           the float network is not compared: {escape(unknown)}")
    else:
        with stages.stage("weights", f"float {request.model.name}"):
            network = load_float(request)
            if network.digest != origin["parameters_sha256"]:
                raise InputError(
                    f"parameters of {request.model.name} must be those that were compiled, not others: compile again"
                )
            network = network.narrowed(request)
    with stages.stage("lower", f"operations of {', '.join(request.tasks)}"):
        graphs = _lowered(qmodel, request)
    return Program(
        request,
        network,
        qmodel,
        image,
        graphs,
        origin["estimated_cycles"],
        calibrated=origin.get("calibration", {}),
        not_compared=unknown,
        finer=tuple(FinerLayer(**row) for row in origin.get("finer", [])),
    )
