"""Published accelerators beside this one: time and energy of an image, each with what was computed for it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from moesaic.compiler.check import check
from moesaic.compiler.cost import stream_words
from moesaic.compiler.ir import CompileError
from moesaic.compiler.pipeline import compile_graphs
from moesaic.compiler.weights import Piece
from moesaic.energy.table import Design, other_designs, published_designs
from moesaic.flow.energy import energy_report
from moesaic.flow.layers import layer_works
from moesaic.flow.model_cycles import TaskModel
from moesaic.golden.config import M3ViTConfig, preset
from moesaic.golden.hollow import hollow_model
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["OTHERS_MODEL", "peers_report", "whole_macs"]

OTHERS_MODEL = "m3vit-tiny"  # what the published accelerators are for
SIZES = ((128, 256), (224, 224))  # of Edge-MoE's released model, and of the operations that all of them publish


def whole_macs(model: M3ViTConfig) -> int:
    """Multiply-accumulates of one image, all blocks."""
    return model.embed_macs + sum(model.block_macs(number) for number in range(model.depth))


def _even_model(model: M3ViTConfig, config: AcceleratorConfig) -> TaskModel:
    """The analytic model of a network's program, from its shapes alone.

    Raises
    ------
    CompileError
        If the accelerator cannot hold it.
    """
    hollow, task = hollow_model(model), model.tasks[0]
    check(hollow, config, tasks=(task,), blocks=model.depth)
    _, graph = compile_graphs(hollow, config, task=task)
    pieces = {
        op.weights: Piece(op.weights, 0, stream_words(graph, op, config)) for op in graph.ops if op.weights is not None
    }
    return TaskModel(graph, pieces, config)


def _even_routing(model: M3ViTConfig) -> dict[str, list[int]]:
    result = {}
    for number in range(model.depth):
        sizes = model.layer(number)
        if sizes.experts:
            share, rest = divmod(model.tokens * sizes.top_k, sizes.experts)
            result[f"blocks.{number}"] = [share + (expert < rest) for expert in range(sizes.experts)]
    return result


def _row(name: str, where: str, model: str, image: str, gop: float, **figures: Any) -> dict[str, Any]:
    return {
        "name": name,
        "board": where,
        "model": model,
        "image": image,
        "gop": round(gop, 3),
        "precision": "",
        "clock_mhz": None,
        "ms": None,
        "ms_is": "",
        "mj": None,
        "mj_is": "",
        "mj_error": None,
        "ddr_mj": None,
        "ours": False,
        "source": "",
        "assumed": [],
        **figures,
    }


def _published(design: Design) -> dict[str, Any]:
    return _row(
        design.name,
        design.board,
        design.model,
        "as published",
        design.gop,
        precision=design.precision,
        clock_mhz=design.clock_mhz,
        ms=design.latency_ms,
        ms_is="published",
        mj=None if design.millijoule is None else round(design.millijoule, 3),
        mj_is="" if design.millijoule is None else "published",
        source=design.source,
        assumed=list(design.assumed),
    )


def _estimated(
    model: M3ViTConfig, config: AcceleratorConfig, board: str, resources: Mapping[str, Any]
) -> dict[str, Any] | None:
    try:
        compiled = _even_model(model, config)
    except CompileError:  # this accelerator is too small for it
        return None
    works = layer_works(compiled, _even_routing(model))
    milliseconds = sum(work.cycles for work in works) / (1e3 * config.clock_mhz)
    energy = energy_report(works, resources, config, board)
    return _row(
        "Moesaic",
        resources["board"],
        model.name,
        "{} × {}".format(*model.image_size),
        2e-9 * whole_macs(model),
        precision="W8A8",
        clock_mhz=config.clock_mhz,
        ms=round(milliseconds, 4),
        ms_is="estimated",
        ours=True,
        mj=energy["energy"]["chip_mj"],
        mj_is="estimated",
        mj_error=energy["energy_error"],
        ddr_mj=energy["energy"]["ddr_mj"],
        source="analytic model, tokens spread evenly over the experts",
    )


def peers_report(
    entry: Mapping[str, Any],
    model: M3ViTConfig,
    config: AcceleratorConfig,
    board: str,
    resources: Mapping[str, Any],
    *,
    whole: bool,
    widths: str,
) -> list[dict[str, Any]]:
    """Rows of a table: this run, the published accelerators' network on this accelerator, and the published
    accelerators.

    Parameters
    ----------
    entry : mapping
        Of report.json's tasks, with its energy.
    model : M3ViTConfig
        What was run.
    config : AcceleratorConfig
    board : str
        Name or file of the board, or of a bare preset.
    resources : mapping
        Of `flow.resources`.
    whole : bool
        All blocks were run: otherwise this run is no image's.
    widths : str
        Of weights and activations of this run.

    Returns
    -------
    list of dict
        `name`, `board`, `model`, `image`, `gop` (operations, two for each multiply-accumulate), `precision`,
        `clock_mhz`, `ms` and `mj` (on chip) with `ms_is` and `mj_is` (measured, published or estimated), `mj_error`,
        `ddr_mj`, `ours`, `source`, `assumed`.
    """
    rows = []
    if whole and entry["latency_ms"] is not None:
        rows.append(
            _row(
                "Moesaic, this run",
                resources["board"],
                model.name,
                "{} × {}".format(*model.image_size),
                2e-9 * entry["macs"],
                precision=widths.upper(),
                clock_mhz=config.clock_mhz,
                ms=entry["latency_ms"],
                ms_is="measured",
                ours=True,
                mj=entry["energy"]["chip_mj"],
                mj_is="estimated",
                mj_error=entry["energy_error"],
                ddr_mj=entry["energy"]["ddr_mj"],
                source="cycles counted by the RTL in simulation, at the preset's clock",
            )
        )
    for size in SIZES:
        other = dataclasses.replace(preset(OTHERS_MODEL), image_size=size)
        if rows and model.name == OTHERS_MODEL and model.image_size == size:
            continue
        estimated = _estimated(other, config, board, resources)
        if estimated is not None:
            rows.append(estimated)
    return rows + [_published(design) for design in (*published_designs(), *other_designs())]
