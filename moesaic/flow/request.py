"""What a user asks for, checked before any work starts."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moesaic.compiler.batch import MOST_IMAGES, Batch
from moesaic.errors import InputError
from moesaic.flow.accelerators import Accelerator, Asked, asked_for, usual
from moesaic.flow.stages import Stages
from moesaic.golden import config as models
from moesaic.golden.config import network_of
from moesaic.golden.image_choice import FIRST, least_tokens
from moesaic.golden.image_sources import NATURAL, dataset_name
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.network import Network, check_runs
from moesaic.golden.prefix import narrow_network
from moesaic.golden.qmodel import DEFAULT_WIDTHS, WIDTHS
from moesaic.golden.trained_with import trained_with
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.names import ALL_TASKS

if TYPE_CHECKING:  # brings torch, which a built-in model's request can wait for
    from moesaic.golden.importers.imported import Imported

__all__ = ["Request", "make_request"]

MOST_DB = 100
_WEIGHT_FILES = (".pth", ".pt", ".tar", ".bin", ".safetensors", ".ckpt")


def _one_of(what: str, value: str, valid: list[str]) -> None:
    if value not in valid:
        raise InputError(f"{what} must be one of {', '.join(valid)}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A model, what it shall do, and on what.

    Parameters
    ----------
    model : Network
    board : str
        Name of the board, or of a bare accelerator preset.
    board_origin : str
        What names it in a later request: its name, or the absolute path of its file.
    accelerator : AcceleratorConfig
    configured : bool
        The accelerator is from a file of its own, not the board's.
    tasks : tuple of str
        Tasks to run, in this order.
    batch : int
        Images that one program computes.
    together : bool
        One program computes all tasks, if there are several; else each has its own.
    seed : int
        Of seeded weights, of the sample scenes and of the DDR model's stalls.
    blocks : int
        Blocks of the network that are run.
    speculate : int or None
        Experts fetched before the router has decided; None lets the compiler choose.
    widths : str
        Name in `golden.qmodel.WIDTHS`: bits of the experts' weights, and of everything else.
    recentre : bool
        Take every token's mean out of the residual stream, so that no norm subtracts one (`golden.recentre`).
    hidden : str or None
        Which of the hidden units are used (`golden.prefix`), of which `model` says how many; None: all.
    target_db : float or None
        Least SQNR after every block, decibels, for which layers get more bits (`flow.finer`).
    budget : int or None
        Cycles of an image that layers with more bits may add.
    reconstruct : bool
        Fit second matrices of experts of 4 bits to what the first ones' integers give (`golden.reconstruct`).
    weights : Path or None
        Parameters to use in place of the shipped ones.
    calibrate : Path or None
        Folder of images to calibrate on, dataset as `module:name`, or `NATURAL`; None: rendered scenes.
    choice : str
        How those images are chosen (`golden.image_choice`).
    model_origin : str
        What names the model in a later request: a preset, an absolute path, or `module:function`.
    imported : Imported or None
        Parameters of a model from outside.
    import_options : ImportOptions
        What was said about it.
    """

    model: Network
    board: str
    board_origin: str
    accelerator: AcceleratorConfig
    configured: bool = False
    tasks: tuple[str, ...]
    batch: int = 1
    together: bool = False
    seed: int = 0
    blocks: int
    speculate: int | None = None
    widths: str = DEFAULT_WIDTHS
    recentre: bool = False
    hidden: str | None = None
    target_db: float | None = None
    budget: int | None = None
    reconstruct: bool = False
    weights: Path | None = None
    calibrate: Path | None = None
    choice: str = FIRST
    model_origin: str
    imported: "Imported | None" = field(default=None, compare=False, repr=False)
    import_options: ImportOptions = field(default_factory=ImportOptions)

    @property
    def single(self) -> tuple[Batch, ...]:
        """A program for each task."""
        return tuple(Batch((task,), self.batch) for task in self.tasks)

    @property
    def runs(self) -> tuple[Batch, ...]:
        """The programs that are run, one after the other."""
        return (Batch(self.tasks, self.batch),) if self.together and len(self.tasks) > 1 else self.single

    @property
    def compiled(self) -> tuple[Batch, ...]:
        """The programs that are there: one for each task, and the one that computes all, if it is run."""
        return tuple(dict.fromkeys((*self.single, *self.runs)))

    @property
    def whole(self) -> bool:
        """Whether all blocks are run."""
        return self.blocks == self.model.depth

    @property
    def name(self) -> str:
        """Model, tasks, board and unusual widths: what a result's folder is called."""
        tasks = ALL_TASKS if len(self.tasks) > 1 else self.tasks[0]
        widths = "" if self.widths == DEFAULT_WIDTHS else f"-{self.widths}"
        batch = f"-batch-{self.batch}" if self.batch > 1 else ""
        hidden = "" if self.hidden is None else f"-hidden-{self.hidden.replace(',', '-')}"
        finer = "" if self.target_db is None else f"-{self.target_db:g}db"
        finer += "-reconstructed" if self.reconstruct else ""
        finer += "" if self.budget is None else f"-{self.budget}-cycles"
        norms = "-rms" if self.recentre else ""
        return f"{self.model.name}-{tasks}-{self.board}{widths}{norms}{hidden}{finer}{batch}"

    @property
    def mixed(self) -> bool:
        """Whether some layers may get more bits than the widths say."""
        return self.target_db is not None or self.budget is not None

    @property
    def expert_bits(self) -> int:
        """Bits of a weight of an expert."""
        return WIDTHS[self.widths]

    def replace(self, **changes: Any) -> "Request":
        """A variant with some fields changed."""
        return dataclasses.replace(self, **changes)


def _from_outside(model: str) -> bool:
    """Whether a model's name is a path or `module:function`: something is there, or it is written like one."""
    path = Path(model)
    return path.exists() or "/" in model or ":" in model or path.suffix in _WEIGHT_FILES


def _open(model: str, options: ImportOptions, stages: Stages) -> "Imported":
    from moesaic.golden.importers.open import open_model

    with stages.stage("import", f"model {model}"):
        imported = open_model(model, options)
    for line in imported.report.lines():
        stages.say(f"           {line}")
    return imported


def _check_names(model: "str | Imported", widths: str, seed: int, batch: int, *, known: bool) -> None:
    if isinstance(model, str) and not known and model not in models.PRESETS and not _from_outside(model):
        raise InputError(
            f"model must be one of {', '.join(models.PRESETS)}, a file or folder of weights, or module:function, not "
            f"{model!r}"
        )
    if not 0 <= seed < 1 << 31:
        raise InputError(f"seed must be from 0 to 2147483647, not {seed!r}")
    if not 1 <= batch <= MOST_IMAGES:
        raise InputError(f"batch must be from 1 to {MOST_IMAGES} images, not {batch!r}")
    _one_of("widths", widths, list(WIDTHS))


def _network(
    model: "str | Imported",
    options: ImportOptions,
    weights: Path | None,
    stages: Stages,
    *,
    recentre: bool,
    hidden: str | None,
) -> tuple[Network, "Imported | None"]:
    """Sizes of the network of that name, changed as asked; with its parameters, if it is one from outside."""
    network, imported = _named(model, options, weights, stages)
    check_runs(network)
    network = network.recentred if recentre else network
    return network if hidden is None else narrow_network(network, hidden), imported


def _named(
    model: "str | Imported", options: ImportOptions, weights: Path | None, stages: Stages
) -> tuple[Network, "Imported | None"]:
    """Sizes of the network of that name; with its parameters, if it is one from outside."""
    if not isinstance(model, str):
        return model.network, model
    if model in models.PRESETS:
        if options.given:
            raise InputError(
                f"{', '.join(options.given)} must be said of a model from files, not of the built-in {model!r}"
            )
        config = models.PRESETS[model]
        return network_of(config if weights is None else trained_with(weights, model).network(config)), None
    if weights is not None:
        raise InputError(f"weights must be given for a built-in model, not for {model!r}, which has its own")
    imported = _open(model, options, stages)
    return imported.network, imported


def _origin(model: "str | Imported", *, outside: bool) -> str:
    """What names the model in a later request."""
    if not isinstance(model, str):
        return model.report.source
    return str(Path(model).absolute()) if outside and Path(model).exists() else model


def _check_run(network: Network, *, task: str, blocks: int, speculate: int | None, widths: str) -> None:
    """What is asked of a network must be something that it has."""
    _one_of("task", task, [*network.tasks, ALL_TASKS])
    if not 1 <= blocks <= network.depth:
        raise InputError(f"blocks must be from 1 to {network.depth}, not {blocks!r}")
    if speculate is not None and not 0 <= speculate <= network.most_experts:
        raise InputError(f"speculate must be from 0 to {network.most_experts} experts, not {speculate!r}")
    if WIDTHS[widths] == 4 and not network.most_experts:
        raise InputError(
            f"widths must not be {widths!r} for {network.name}, which has no experts: 4 bits are for theirs alone"
        )


def _check_mixed(target_db: float | None, budget: int | None, widths: str, *, reconstruct: bool) -> None:
    if target_db is not None and not 0 < target_db <= MOST_DB:
        raise InputError(f"target_db must be from 0 to {MOST_DB} decibels, not {target_db!r}")
    if budget is not None and budget < 0:
        raise InputError(f"budget must be 0 cycles or more, not {budget!r}")
    if reconstruct and WIDTHS[widths] != 4:
        raise InputError(f"reconstruct must be left out with widths {widths!r}: it is for experts of 4 bits")
    if WIDTHS[widths] > 8 and (target_db, budget) != (None, None):
        raise InputError(f"target_db and budget must be left out with widths {widths!r}, where no layer has fewer bits")


def _check_files(weights: Path | None, calibrate: Path | None) -> None:
    if weights is not None and not weights.is_file():
        raise InputError(f"weights must be a .safetensors file, not {str(weights)!r} (there is no such file)")
    if calibrate is not None and not (calibrate.is_dir() or str(calibrate) == NATURAL or dataset_name(str(calibrate))):
        raise InputError(
            f"calibrate must be a folder of images, a dataset as module:name, or {NATURAL!r}, not {str(calibrate)!r}"
        )


def _check_choice(network: Network, choice: str) -> None:
    if least_tokens(choice) is not None and not network.mixtures:
        raise InputError(
            f"calibration-choice must be {FIRST!r} for {network.name}, which has no experts, not {choice!r}"
        )


def make_request(
    *,
    model: "str | Imported",
    task: str | None = None,
    batch: int = 1,
    together: bool = False,
    board: str | None = None,
    accelerator: Asked | None = None,
    seed: int = 0,
    blocks: int | None = None,
    speculate: int | None = None,
    widths: str = DEFAULT_WIDTHS,
    recentre: bool = False,
    hidden: str | None = None,
    target_db: float | None = None,
    budget: int | None = None,
    reconstruct: bool = False,
    weights: Path | None = None,
    calibrate: Path | None = None,
    choice: str = FIRST,
    options: ImportOptions | None = None,
    sizes: Network | None = None,
    stages: Stages | None = None,
) -> Request:
    """A request from names.

    Parameters
    ----------
    model : str or Imported
        Name of a model preset, path of weights (`golden.importers.open`), or `module:function`; or what was opened.
    task : str or None
        Or `all`; None is the first.
    board : str or None
        Name of a board or of an accelerator preset, or a board's TOML file; None is the model's usual one, `auto` the
        preset that is expected to be fastest.
    accelerator : Path, Configuration, AcceleratorConfig or None
        Another accelerator for the board, its file, or file and fields (`boards.configuration`).
    batch, together, seed, blocks, speculate, widths, recentre, hidden, target_db, budget, reconstruct, weights,
    calibrate, choice
        As in `Request`; None runs all blocks.
    options : ImportOptions, optional
        What the files of a model from outside do not say.
    sizes : Network, optional
        Of a model whose parameters are not asked for: its name is kept, and nothing is opened by it.
    stages : Stages, optional

    Raises
    ------
    InputError, BoardError, ConfigurationError, FitError, ImportProblem
        If a name is unknown (the message lists the known ones), a number is out of range, or a board's file is wrong.
    """
    _check_names(model, widths, seed, batch, known=sizes is not None)
    options, stages = options or ImportOptions(seed=seed), stages or Stages(quiet=True)
    asked = asked_for(board, accelerator, widths)
    network, imported = sizes, None
    if network is None:
        network, imported = _network(model, options, weights, stages, recentre=recentre, hidden=hidden)
    found: Accelerator = asked or usual(network, board, accelerator, widths, stages, outside=imported is not None)
    task, blocks = network.tasks[0] if task is None else task, network.depth if blocks is None else blocks
    _check_run(network, task=task, blocks=blocks, speculate=speculate, widths=widths)
    _check_mixed(target_db, budget, widths, reconstruct=reconstruct)
    _check_files(weights, calibrate)
    _check_choice(network, choice)
    return Request(
        model=network,
        board=found.name,
        board_origin=found.origin,
        accelerator=found.sizes,
        configured=accelerator is not None,
        seed=seed,
        blocks=blocks,
        speculate=speculate,
        widths=widths,
        recentre=recentre,
        hidden=hidden,
        target_db=target_db,
        budget=budget,
        reconstruct=reconstruct,
        tasks=network.tasks if task == ALL_TASKS else (task,),
        batch=batch,
        together=together,
        weights=weights,
        calibrate=calibrate,
        choice=choice,
        model_origin=_origin(model, outside=imported is not None),
        imported=imported,
        import_options=options,
    )
