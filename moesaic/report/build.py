"""The report of a run, built once from its outcome."""

import dataclasses
import platform
import sys
from collections.abc import Mapping
from typing import Any

import moesaic
from moesaic.compiler.memory import DdrTiming
from moesaic.compiler.weights import shared_bytes
from moesaic.flow.energy import RunEnergy, calibration_report
from moesaic.flow.execute import TaskOutcome
from moesaic.flow.peers import MeasuredRun, Peer, peers_report
from moesaic.flow.run import ACTIVITY, Outcome
from moesaic.flow.stages import Stages
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.report.doubts import CalibrationImages, SkippedFile
from moesaic.report.likeness import OutputLine
from moesaic.report.model import Ddr, Host, ModelOrigin, Provenance, Report, Saif
from moesaic.report.numbers import peak_memory
from moesaic.report.task_model import TaskReport
from moesaic.report.tasks import task_reports

__all__ = ["build_report", "compared_models"]


def compared_models(outcome: TaskOutcome) -> tuple[str, ...]:
    """Names of the models whose results were held against each other."""
    return ("integer golden", "functional simulator", *([] if outcome.rtl is None else ["RTL"]))


def _images(calibrated: Mapping[str, Any]) -> CalibrationImages:
    return CalibrationImages(
        tuple(SkippedFile(row["file"], row["reason"]) for row in calibrated.get("skipped", ())),
        tuple(calibrated.get("warnings", ())),
    )


def _peers(run: Outcome, first: TaskReport, *, bit_exact: bool) -> tuple[Peer, ...]:
    measured = None
    if run.program.request.whole and bit_exact and first.latency_ms is not None:
        energy = RunEnergy(first.power_w, first.energy_mj_per_frame, first.energy_error, first.energy)
        measured = MeasuredRun(first.latency_ms, first.macs, energy)
    request = run.program.request
    clocked = request.replace(accelerator=run.conditions.clocked(request.accelerator))
    return peers_report(clocked, run.resources, measured, run.options.baselines)


def _ddr(ddr: DdrTiming, accelerator: AcceleratorConfig) -> Ddr:
    return Ddr(accelerator.stripe_bytes, ddr.latency, round(ddr.bytes_per_cycle(accelerator), 3), ddr.dram)


def build_report(
    run: Outcome,
    stages: Stages,
    *,
    pictures: Mapping[str, Mapping[str, str]],
    outputs: Mapping[str, tuple[OutputLine, ...]],
) -> Report:
    """All that report.json holds.

    Parameters
    ----------
    run : Outcome
    stages : Stages
        For the times.
    pictures : mapping of task to mapping of what to file name
        That were drawn.
    outputs : mapping of task to tuple of OutputLine
        What a captured module returns.
    """
    program, request = run.program, run.program.request
    network, accelerator, under = request.model, request.accelerator, run.conditions
    tasks = task_reports(run)
    violations = tuple(text for entry in tasks.values() for text in entry.violations)
    bit_exact = all(entry.bit_exact for entry in tasks.values()) and not violations
    return Report(
        version=moesaic.__version__,
        command=run.options.command,
        model=network.name,
        task=",".join(tasks),
        board=request.board,
        board_origin=request.board_origin,
        weights=program.qmodel.weights,
        provenance=Provenance(
            parameters_sha256=None if program.network is None else program.network.digest,
            network_sha256=program.network_sha256,
            memory_sha256=program.image.manifest["memory_sha256"],
            farthest=program.belonging,
        ),
        widths=program.qmodel.widths,
        finer=program.finer,
        recentred=request.recentre,
        shared_bytes=shared_bytes(
            program.qmodel,
            {piece["name"]: piece["bytes"] for piece in program.image.manifest["pieces"]},
            tasks=request.tasks,
            blocks=request.blocks,
        ),
        not_compared=program.not_compared,
        calibrated_on=program.calibrated.get("calibrated_on"),
        calibration_images=_images(program.calibrated),
        imported=None if request.imported is None else ModelOrigin(**request.imported.report.to_dict()),
        seed=request.seed,
        batch=request.batch,
        blocks_run=request.blocks,
        depth=network.depth,
        tokens=network.tokens,
        dim=network.dim,
        image=run.given.where,
        clock_mhz=under.timing.used_mhz,
        memory=under.memory,
        memory_of=under.memory_of,
        timing=under.timing,
        accelerator=accelerator,
        config_hash=accelerator.hash,
        ddr=_ddr(under.ddr, accelerator),
        compared=compared_models(run.tasks[0]),
        bit_exact=bit_exact,
        mismatches=sum(entry.mismatches for entry in tasks.values()),
        violations=violations,
        resources=run.resources,
        tasks=tasks,
        calibration=calibration_report(),
        peers=_peers(run, next(iter(tasks.values())), bit_exact=bit_exact),
        saif=None if run.saif is None else Saif(file=ACTIVITY, **dataclasses.asdict(run.saif)),
        pictures=pictures,
        outputs=outputs,
        wall_s={**stages.wall_s, "total": round(stages.elapsed, 3)},
        peak_memory_bytes=peak_memory(),
        host=Host(platform.python_version(), platform.machine(), sys.platform),
    )
