"""The report as data: the part of one program, and its parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from moesaic.compiler.batch import MOST_IMAGES, Item
from moesaic.flow.energy import EnergyReport, MeanPower
from moesaic.flow.worst import WorstCase
from moesaic.records import Count
from moesaic.report.doubts import SaturatedTensor
from moesaic.schema import Choice, Name, Text, Whole

__all__ = [
    "ARRAY_STATES",
    "ArrayStates",
    "BlockReport",
    "DifferenceReport",
    "EmbeddingReport",
    "ItemReport",
    "LayerReport",
    "Line",
    "ModelCycles",
    "PartReport",
    "ResultReport",
    "Roofline",
    "Stop",
    "TaskName",
    "TaskReport",
]

ARRAY_STATES = ("busy", "starved", "loading", "blocked", "idle")
PartName = Annotated[str, Text(r"[A-Za-z0-9._-]+", 200, "a name with dots")]
Line = Annotated[str, Text(r"[^\x00-\x08\x0e-\x1f]*", title="text")]
TaskName = Annotated[str, Name()]
Tokens = Annotated[tuple[Annotated[int, Whole()], ...], Count(0, 64)]


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


@dataclass(frozen=True)
class ItemReport:
    """An image and a task: the cycles of the program that computed it, and whether all models agree on it."""

    image: Annotated[int, Whole(0, MOST_IMAGES - 1)]
    task: TaskName
    cycles: int | None
    bit_exact: bool

    @property
    def item(self) -> Item:
        """The item itself."""
        return Item(self.image, self.task)


@dataclass(frozen=True, kw_only=True)
class TaskReport:
    """One program: a task, or all of them together.

    Parameters
    ----------
    task : str
        Its name: the task's, or `all`.
    items : tuple of ItemReport
    cycles_per_item : float or None
    apart_cycles : int or None
        Of several tasks: cycles that the compiler expects if they run one after the other.
    bit_exact : bool
        All models agree in every value.
    mismatches : int
        Values that differ.
    differences : tuple of DifferenceReport
    error : Stop or None
    cycles : int or None
        Counted by the RTL.
    cycles_ideal : int
        With an ideal memory.
    cycles_ideal_is : str
        Where they are from: `rtl`, if that memory was simulated, or `model`, the analytic one.
    estimated_cycles : int or None
        Expected by the compiler, every expert used alike.
    model_cycles : mapping of part to ModelCycles
        `image`, and each part of the network, by the analytic model that knows the routing.
    macs : int
        Multiply-accumulates of all items.
    weight_bytes, weight_bytes_read, speculated_bytes_dropped
        What these items need, and of the weight stream (None after an error).
    roofline : Roofline
    latency_ms, fps : float or None
        From the cycles and the clock: of the whole program, and images a second.
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
        Of the whole program but for `energy_mj_per_frame`, which is an image's; as in `flow.energy.RunEnergy`.
    worst_case : mapping of case to WorstCase
    """

    task: TaskName
    items: Annotated[tuple[ItemReport, ...], Count(1, 512)]
    cycles_per_item: float | None
    apart_cycles: int | None
    bit_exact: bool
    mismatches: Annotated[int, Whole()]
    differences: tuple[DifferenceReport, ...]
    error: Stop | None
    cycles: int | None
    cycles_ideal: int
    cycles_ideal_is: Annotated[str, Choice(("rtl", "model"))]
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
