"""Published accelerators beside this one: time and energy of an image, each with what was computed for it."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from moesaic.compiler.check import check
from moesaic.compiler.cost import stream_words
from moesaic.compiler.ir import CompileError
from moesaic.compiler.pipeline import compile_graphs
from moesaic.compiler.weights import Piece
from moesaic.energy.baselines import Baseline, shipped_baseline
from moesaic.energy.table import Design, other_designs, published_designs
from moesaic.flow.energy import RunEnergy, run_energy
from moesaic.flow.layers import layer_works
from moesaic.flow.model_cycles import TaskModel
from moesaic.flow.request import Request
from moesaic.flow.resources import ReportedResources
from moesaic.golden.config import network_of, preset
from moesaic.golden.hollow import hollow_model
from moesaic.golden.network import Network
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["OTHERS_MODEL", "Peer", "peers_report", "whole_macs"]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A row of the table of accelerators.

    Parameters
    ----------
    name, board, model, image : str
    gop : float
        Operations, two for each multiply-accumulate, 1e9.
    precision : str
    clock_mhz : float or None
    ms, mj : float or None
        Of an image; energy on chip.
    ms_is, mj_is : str
        "measured", "published", "estimated", or "on the device" of a GPU or processor; empty where there is none.
    mj_error : float or None
        Relative.
    ddr_mj : float or None
    ours : bool
    batch : int
        Images of a call.
    source : str
    assumed : tuple of str
    """

    name: str
    board: str
    model: str
    image: str
    gop: float
    precision: str = ""
    clock_mhz: float | None = None
    ms: float | None = None
    ms_is: str = ""
    mj: float | None = None
    mj_is: str = ""
    mj_error: float | None = None
    ddr_mj: float | None = None
    ours: bool = False
    batch: int = 1
    source: str = ""
    assumed: tuple[str, ...] = ()


OTHERS_MODEL = "m3vit-tiny"  # what the published accelerators are for
ON_DEVICE = "on the device"  # how a time or an energy of a baseline was found
SIZES = ((128, 256), (224, 224))  # of Edge-MoE's released model, and of the operations that all of them publish


def whole_macs(model: Network) -> int:
    """Multiply-accumulates of one image, all blocks."""
    return model.macs


def _even_model(model: Network, accelerator: AcceleratorConfig) -> TaskModel:
    """The analytic model of a network's program, from its shapes alone.

    Raises
    ------
    CompileError
        If the accelerator cannot hold it.
    """
    hollow, task = hollow_model(model), model.tasks[0]
    check(hollow, accelerator, tasks=(task,), blocks=model.depth)
    _, graph = compile_graphs(hollow, accelerator, task=task)
    pieces = {
        op.weights: Piece(op.weights, 0, stream_words(graph, op, accelerator))
        for op in graph.ops
        if op.weights is not None
    }
    return TaskModel(graph, pieces, accelerator)


def _even_routing(model: Network) -> dict[str, list[int]]:
    result = {}
    for number, (top_k, experts) in model.mixtures.items():
        share, rest = divmod(model.tokens * top_k, experts)
        result[model.blocks[number].name] = [share + (expert < rest) for expert in range(experts)]
    return result


def _published(design: Design) -> Peer:
    return Peer(
        name=design.name,
        board=design.board,
        model=design.model,
        image="as published",
        gop=round(design.gop, 3),
        precision=design.precision,
        clock_mhz=design.clock_mhz,
        ms=design.latency_ms,
        ms_is="published",
        mj=None if design.millijoule is None else round(design.millijoule, 3),
        mj_is="" if design.millijoule is None else "published",
        source=design.source,
        assumed=tuple(design.assumed),
    )


def _ours(network: Network, accelerator: AcceleratorConfig, energy: RunEnergy, *, gop: float, **more: Any) -> Peer:
    return Peer(
        model=network.name,
        image="{} × {}".format(*network.image_size),
        gop=round(gop, 3),
        clock_mhz=accelerator.clock_mhz,
        ours=True,
        mj=None if energy.energy is None else energy.energy.chip_mj,
        mj_is="estimated",
        mj_error=energy.energy_error,
        ddr_mj=None if energy.energy is None else energy.energy.ddr_mj,
        **more,
    )


def _estimated(
    network: Network, accelerator: AcceleratorConfig, board: str, resources: ReportedResources
) -> Peer | None:
    try:
        compiled = _even_model(network, accelerator)
    except CompileError:  # this accelerator is too small for it
        return None
    works = layer_works(compiled, _even_routing(network))
    milliseconds = sum(work.cycles for work in works) / (1e3 * accelerator.clock_mhz)
    return _ours(
        network,
        accelerator,
        run_energy(works, resources, accelerator, board),
        name="Moesaic",
        board=resources.board,
        gop=2e-9 * whole_macs(network),
        precision="W8A8",
        ms=round(milliseconds, 4),
        ms_is="estimated",
        source="analytic model, tokens spread evenly over the experts",
    )


@dataclass(frozen=True)
class MeasuredRun:
    """What the table says of a run of a whole image: its time, its multiply-accumulates, and its energy."""

    milliseconds: float
    macs: int
    energy: RunEnergy


def _elsewhere(baseline: Baseline, network: Network) -> Iterator[Peer]:
    """A GPU or a processor with the same network: for each batch the way that takes least time."""
    for row in baseline.fastest("{} {}x{}".format(network.name, *network.image_size)):
        mixtures = f", experts {row.moe}" if network.mixtures else ""
        yield Peer(
            name=baseline.name,
            board=f"batch {row.batch}{mixtures}, {row.mode}",
            model=network.name,
            image="{} × {}".format(*network.image_size),
            gop=round(2e-9 * whole_macs(network), 3),
            precision=baseline.precision,
            ms=row.ms_image,
            ms_is=ON_DEVICE,
            mj=row.mj_image,
            mj_is="" if row.mj_image is None else ON_DEVICE,
            batch=row.batch,
            source=f"{baseline.device}, {baseline.date}",
        )


def peers_report(
    request: Request, resources: ReportedResources, run: MeasuredRun | None, baselines: Sequence[Baseline] = ()
) -> tuple[Peer, ...]:
    """Rows of a table: this run, the published accelerators' network on this accelerator, and the published
    accelerators.

    Parameters
    ----------
    request : Request
        What was run.
    resources : ReportedResources
    run : MeasuredRun or None
        None if it was no image's: not all blocks, no cycles, or not bit exact.
    baselines : sequence of Baseline
        What was measured on other machines, beside the one that comes along.
    """
    network, accelerator = request.model, request.accelerator
    rows = []
    if run is not None:
        rows.append(
            _ours(
                network,
                accelerator,
                run.energy,
                name="Moesaic, this run",
                board=resources.board,
                gop=2e-9 * run.macs,
                precision=request.widths.upper(),
                ms=run.milliseconds,
                ms_is="measured",
                source="cycles counted by the RTL in simulation, at the preset's clock",
            )
        )
    for size in SIZES:
        other = network_of(dataclasses.replace(preset(OTHERS_MODEL), image_size=size))
        if rows and network.name == OTHERS_MODEL and network.image_size == size:
            continue
        estimated = _estimated(other, accelerator, request.board_origin, resources)
        if estimated is not None:
            rows.append(estimated)
    others = [network] if network.name == OTHERS_MODEL else [network, network_of(preset(OTHERS_MODEL))]
    rows += [_published(design) for design in (*published_designs(), *other_designs())]
    return (
        *rows,
        *(row for base in (*baselines, shipped_baseline()) for other in others for row in _elsewhere(base, other)),
    )
