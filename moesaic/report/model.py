"""The report as data: what report.json holds, with the types of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from moesaic.flow.ablate import Ablation
from moesaic.flow.energy import CalibrationReport, EnergyReport, MeanPower
from moesaic.flow.peers import Peer
from moesaic.flow.resources import ReportedResources
from moesaic.flow.worst import WorstCase
from moesaic.golden.belonging import Belonging
from moesaic.golden.finer import FinerLayer
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.records import Count, called
from moesaic.report.doubts import CalibrationImages, SaturatedTensor
from moesaic.report.likeness import OutputLine
from moesaic.schema import Name, Number, Text, Whole

__all__ = [
    "ARRAY_STATES",
    "FORMAT",
    "ArrayStates",
    "BlockReport",
    "Ddr",
    "DifferenceReport",
    "EmbeddingReport",
    "Host",
    "LayerReport",
    "ModelCycles",
    "ModelOrigin",
    "PartReport",
    "PeakMemory",
    "Provenance",
    "Report",
    "ResultReport",
    "Roofline",
    "Saif",
    "Stop",
    "TaskReport",
]

FORMAT = 4  # of report.json
ARRAY_STATES = ("busy", "starved", "loading", "blocked", "idle")
PartName = Annotated[str, Text(r"[A-Za-z0-9._-]+", 200, "a name with dots")]
Line = Annotated[str, Text(r"[^\x00-\x08\x0e-\x1f]*", title="text")]
TaskName = Annotated[str, Name()]
Tokens = Annotated[tuple[Annotated[int, Whole()], ...], Count(0, 64)]
Blocks = Annotated[int, Whole(1, 256)]


@dataclass(frozen=True)
class ArrayStates:
    """What the array did, cycles."""

    busy: int
    starved: int
    loading: int
    blocked: int
    idle: int


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """A part of the network as the RTL counted it: from the end of the part before to its own; None without RTL."""

    cycles: int | None = None
    bytes_read: int | None = None
    array: ArrayStates | None = None


@dataclass(frozen=True, kw_only=True)
class EmbeddingReport(PartReport):
    """Patches to tokens."""

    macs: int
    bit_exact: bool


@dataclass(frozen=True, kw_only=True)
class ResultReport(PartReport):
    """From the last block to the interrupt."""

    bit_exact: bool


@dataclass(frozen=True, kw_only=True)
class BlockReport(PartReport):
    """A block, with its integers against float (None where they were not compared) and its experts (None without)."""

    name: PartName
    kind: PartName
    macs: int
    sqnr_db: float | None
    cosine: float | None
    routing_agreement: float | None
    bit_exact: bool
    experts_used: int | None
    tokens_per_expert: Tokens | None


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """A layer: work, bytes of the weight stream, cycles in which the array works and which it took, energy in mJ."""

    name: PartName
    part: PartName
    macs: int
    bytes: int
    array_cycles: int
    cycles: float
    mj: float | None


@dataclass(frozen=True)
class ModelCycles:
    """Cycles by the analytic model, and its relative error where they were measured."""

    cycles: int
    error: float | None


@dataclass(frozen=True)
class Roofline:
    """Cycles that arithmetic and weights alone would take, the larger, and the fraction of it that was reached."""

    arithmetic_cycles: int
    ddr_cycles: int
    bound_cycles: int
    fraction: float | None


@dataclass(frozen=True)
class DifferenceReport:
    """The first difference between two models in a tensor, and how many there are."""

    models: str
    tensor: str
    token: int
    channel: int
    got: int
    expected: int
    count: int
    text: str


@dataclass(frozen=True)
class Stop:
    """Why the RTL stopped before its end."""

    code: str
    text: str
    unit: str | None = None
    index: int | None = None
    address: int | None = None
    draining: bool | None = None


@dataclass(frozen=True, kw_only=True)
class TaskReport:
    """One task.

    Parameters
    ----------
    task : str
    bit_exact : bool
        All models agree in every value.
    mismatches : int
        Values that differ.
    differences : tuple of DifferenceReport
    error : Stop or None
    cycles : int or None
        Counted by the RTL.
    estimated_cycles : int or None
        Expected by the compiler, every expert used alike.
    model_cycles : mapping of part to ModelCycles
        `image`, and each part of the network, by the analytic model that knows the routing.
    macs : int
        Multiply-accumulates.
    weight_bytes, weight_bytes_read, speculated_bytes_dropped
        What this image needs, and of the weight stream (None after an error).
    roofline : Roofline
    latency_ms, fps : float or None
        From the cycles and the clock.
    embedding, blocks, result, layers
        Parts of the network.
    units : mapping of unit to mapping of state to int, cycles
    array : ArrayStates or None
    experts_used : mapping of block name to int
    tokens_per_expert : mapping of block name to tuple of int
    speculated_experts : int
        Fetched before the router has decided.
    counters : mapping of str to int
        Of the RTL.
    violations : tuple of str
        AXI4 rules that were broken.
    saturation : tuple of SaturatedTensor
        With values that had no room.
    power_w, energy_mj_per_frame, energy_error, energy
        As in `flow.energy.RunEnergy`.
    worst_case : mapping of case to WorstCase
    """

    task: TaskName
    bit_exact: bool
    mismatches: Annotated[int, Whole()]
    differences: tuple[DifferenceReport, ...]
    error: Stop | None
    cycles: int | None
    estimated_cycles: int | None
    model_cycles: Mapping[PartName, ModelCycles]
    macs: int
    weight_bytes: int
    weight_bytes_read: int | None
    speculated_bytes_dropped: int | None
    roofline: Roofline
    latency_ms: float | None
    fps: float | None
    embedding: EmbeddingReport
    blocks: Annotated[tuple[BlockReport, ...], Count(1, 256)]
    result: ResultReport
    layers: Annotated[tuple[LayerReport, ...], Count(0, 4096)]
    units: Mapping[PartName, Mapping[PartName, int]]
    array: ArrayStates | None
    experts_used: Mapping[PartName, int]
    tokens_per_expert: Annotated[Mapping[PartName, Tokens], Count(0, 256)]
    speculated_experts: int
    counters: Mapping[PartName, int]
    violations: tuple[Line, ...]
    power_w: MeanPower | None
    energy_mj_per_frame: float | None
    energy_error: float
    energy: EnergyReport | None
    worst_case: Mapping[TaskName, WorstCase]
    saturation: Annotated[tuple[SaturatedTensor, ...], Count(0, 16384)] = ()


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
    """The DDR model: bandwidth, and latency in cycles."""

    bytes_per_cycle: Annotated[int, Number(1)]
    latency_cycles: Annotated[int, Number(0)]


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
    tasks : mapping of str to TaskReport
        In the order in which they ran.
    calibration : CalibrationReport
        Of the energy model.
    peers : tuple of Peer
    pictures : mapping of task to mapping of what to file name
    outputs : mapping of task to tuple of OutputLine
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
    blocks_run: Blocks
    depth: Blocks
    tokens: int
    dim: int
    image: str
    clock_mhz: Annotated[float, Number(0)]
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
        """The task that ran first: its figures are those that a page begins with."""
        return next(iter(self.tasks.values()))
