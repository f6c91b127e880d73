"""The report as data: what report.json holds, with the types of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from moesaic.compiler.batch import MOST_IMAGES
from moesaic.compiler.memory import DramTiming
from moesaic.flow.ablate import Ablation
from moesaic.flow.conditions import MemoryKind, Timing
from moesaic.flow.energy import CalibrationReport
from moesaic.flow.peers import Peer
from moesaic.flow.resources import ReportedResources
from moesaic.golden.belonging import Belonging
from moesaic.golden.finer import FinerLayer
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.records import Count, called
from moesaic.report.doubts import CalibrationImages
from moesaic.report.likeness import OutputLine
from moesaic.report.task_model import ItemReport, Line, TaskName, TaskReport
from moesaic.schema import Name, Number, Text, Whole

__all__ = ["FORMAT", "Ddr", "Host", "ModelOrigin", "PeakMemory", "Provenance", "Report", "Saif"]

FORMAT = 6  # of report.json
Blocks = Annotated[int, Whole(1, 256)]


@dataclass(frozen=True)
class Provenance:
    """SHA-256 of the weights on their way into the accelerator, and what holds the first against the second."""

    parameters_sha256: str | None
    network_sha256: str
    memory_sha256: str
    farthest: Belonging | None


@dataclass(frozen=True)
class ModelOrigin:
    """Where a model from outside comes from, as `golden.importers.imported.ImportReport` says it."""

    source: str
    format: str
    assumed: tuple[str, ...]
    notes: tuple[str, ...]
    filled: tuple[str, ...]
    checked: str
    names: Mapping[str, str]
    kind: str


@dataclass(frozen=True)
class Ddr:
    """The simulated memory: bandwidth of the ports, latency, bytes that reach the ports in a cycle on average, and the
    DRAM in cycles; None if it is ideal.
    """

    bytes_per_cycle: Annotated[int, Number(1)]
    latency_cycles: Annotated[int, Number(0)]
    delivered: float
    dram: DramTiming | None


@dataclass(frozen=True)
class Saif:
    """Switching activity that was written for Vivado."""

    file: str
    nets: int
    toggles: int
    duration: int
    instances: int


@dataclass(frozen=True)
class PeakMemory:
    """Largest resident sizes, bytes: of this process, and of the largest of its children (compilers, the simulator)."""

    this_process: int
    largest_child: int


@dataclass(frozen=True)
class Host:
    """What ran this."""

    python: str
    machine: str
    system: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """A run.

    Parameters
    ----------
    version, command : str
        Of Moesaic, and what repeats this.
    model, board, board_origin, widths, weights : str
        As in `flow.request.Request`; where the weights come from.
    task : str
        All tasks, with commas.
    not_compared : str
        Why there is no float network; empty if there is one.
    imported : ModelOrigin or None
        `import` in JSON.
    seed, blocks_run, depth, tokens, dim : int
    image : str
        Where the input comes from.
    clock_mhz : float
    accelerator : AcceleratorConfig
        `config` in JSON.
    config_hash : str
    ddr : Ddr
    memory, memory_of : str
        `ideal`, or `board` and the board whose memory it is (`flow.conditions`).
    timing : Timing
        What `clock_mhz` is, by which cycles became times, and how far the timing model supports it.
    compared : tuple of str
        Models whose results were held against each other.
    bit_exact, mismatches, violations
        Of all tasks.
    resources : ReportedResources
    ablation : Ablation or None
        `moesaic ablate` fills it in.
    finer : tuple of FinerLayer
        Layers that were given more bits (`Request.target_db`, `Request.budget`).
    recentred, shared_bytes
        Whether LayerNorm became RMSNorm (`Request.recentre`); memory that layers with common matrices save.
    batch : int
        Images that a program computes.
    tasks : mapping of str to TaskReport
        By program, in the order in which they ran.
    calibration : CalibrationReport
        Of the energy model.
    peers : tuple of Peer
    pictures : mapping of item (`Item.label`) to mapping of what to file name
    outputs : mapping of item to tuple of OutputLine
        What a captured module returns.
    wall_s : mapping of stage to float, seconds
    """

    version: str
    command: Line
    model: Annotated[str, Name()]
    task: str
    board: Annotated[str, Name()]
    board_origin: str
    weights: str
    provenance: Provenance
    widths: str
    not_compared: str
    calibrated_on: str | None
    calibration_images: CalibrationImages
    imported: ModelOrigin | None = field(metadata=called("import"))
    seed: int
    batch: Annotated[int, Whole(1, MOST_IMAGES)]
    blocks_run: Blocks
    depth: Blocks
    tokens: int
    dim: int
    image: str
    clock_mhz: Annotated[float, Number(0)]
    memory: MemoryKind
    memory_of: str
    timing: Timing
    accelerator: AcceleratorConfig = field(metadata=called("config"))
    config_hash: str
    ddr: Ddr
    compared: Annotated[tuple[Annotated[str, Text(most=64)], ...], Count(1, 8)]
    bit_exact: bool
    mismatches: int
    violations: tuple[Line, ...]
    resources: ReportedResources
    tasks: Annotated[Mapping[TaskName, TaskReport], Count(1, 64)]
    calibration: CalibrationReport
    peers: Annotated[tuple[Peer, ...], Count(0, 64)]
    saif: Saif | None
    pictures: Annotated[Mapping[TaskName, Mapping[TaskName, str]], Count(0, 64)]
    outputs: Mapping[TaskName, tuple[OutputLine, ...]]
    wall_s: Mapping[TaskName, float]
    peak_memory_bytes: PeakMemory
    host: Host
    ablation: Ablation | None = None
    finer: Annotated[tuple[FinerLayer, ...], Count(0, 1024)] = ()
    recentred: bool = False
    shared_bytes: int = 0

    @property
    def first(self) -> TaskReport:
        """The program that ran first: its figures are those that a page begins with."""
        return next(iter(self.tasks.values()))

    @property
    def items(self) -> tuple[ItemReport, ...]:
        """Of all programs."""
        return tuple(item for entry in self.tasks.values() for item in entry.items)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the items are called."""
        return tuple(entry.item.label(self.batch) for entry in self.items)
