"""A report without a run: small, and of the types that a run gives."""

from moesaic.boards.estimate import LongPath
from moesaic.boards.resources import Resources
from moesaic.flow.conditions import Timing
from moesaic.flow.energy import CalibrationReport
from moesaic.flow.resources import ReportedResources
from moesaic.golden.finer import FinerLayer
from moesaic.hw.spec.presets import PRESETS
from moesaic.report.doubts import CalibrationImages
from moesaic.report.model import Ddr, Host, PeakMemory, Provenance, Report
from moesaic.report.task_model import (
    ArrayStates,
    BlockReport,
    EmbeddingReport,
    ItemReport,
    ModelCycles,
    ResultReport,
    Roofline,
    TaskReport,
)

__all__ = ["a_report", "a_task"]


def a_task(**changes: object) -> TaskReport:
    """A task of 7 cycles, where 6 are the least."""
    states = ArrayStates(busy=4, starved=1, loading=1, blocked=0, idle=1)
    block = BlockReport(
        name="blocks.0",
        kind="dense",
        cycles=7,
        bytes_read=8,
        array=states,
        macs=9,
        sqnr_db=30.0,
        cosine=None,
        routing_agreement=None,
        bit_exact=True,
        experts_used=None,
        tokens_per_expert=None,
    )
    fields: dict[str, object] = {
        "task": "depth",
        "items": (ItemReport(0, "depth", 7, True),),
        "cycles_per_item": 7.0,
        "apart_cycles": None,
        "bit_exact": True,
        "mismatches": 0,
        "differences": (),
        "error": None,
        "cycles": 7,
        "cycles_ideal": 7,
        "cycles_ideal_is": "rtl",
        "estimated_cycles": 8,
        "model_cycles": {"image": ModelCycles(8, None)},
        "macs": 9,
        "weight_bytes": 8,
        "weight_bytes_read": 8,
        "speculated_bytes_dropped": 0,
        "roofline": Roofline(6, 5, 6, 0.5),
        "latency_ms": 0.1,
        "fps": 10_000.0,
        "embedding": EmbeddingReport(macs=1, bit_exact=True),
        "blocks": (block,),
        "result": ResultReport(bit_exact=True),
        "layers": (),
        "units": {"array": {"busy": 4}},
        "array": states,
        "experts_used": {"blocks.1": 2},
        "tokens_per_expert": {"blocks.1": (3, 4)},
        "speculated_experts": 1,
        "counters": {"cycles": 7},
        "violations": (),
        "power_w": None,
        "energy_mj_per_frame": None,
        "energy_error": 0.1,
        "energy": None,
        "worst_case": {},
    }
    return TaskReport(**{**fields, **changes})  # type: ignore[arg-type]


def a_report(**changes: object) -> Report:
    """A run of one task on the RTL."""
    accelerator = PRESETS["micro8"]
    amount = Resources(lut=1, bram36=1.5)
    fields: dict[str, object] = {
        "version": "1",
        "command": "moesaic run",
        "model": "mine",
        "task": "depth",
        "board": "micro8",
        "board_origin": "micro8",
        "weights": "seeded",
        "provenance": Provenance(None, "0", "1", None),
        "widths": "w8a8",
        "not_compared": "",
        "calibrated_on": None,
        "calibration_images": CalibrationImages(),
        "imported": None,
        "seed": 0,
        "batch": 1,
        "blocks_run": 1,
        "depth": 1,
        "tokens": 65,
        "dim": 64,
        "image": "a file",
        "clock_mhz": 180.0,
        "accelerator": accelerator,
        "config_hash": accelerator.hash,
        "ddr": Ddr(8, 100, 8.0, None),
        "memory": "ideal",
        "memory_of": "",
        "timing": Timing(
            asked_mhz=300.0,
            optimistic_mhz=230.0,
            pessimistic_mhz=180.0,
            used_mhz=180.0,
            given=False,
            counted=True,
            paths=(LongPath(start="a", end="b", delay_ns=5.0, optimistic_ns=4.0),),
        ),
        "compared": ("integer golden", "functional simulator", "RTL"),
        "bit_exact": True,
        "mismatches": 0,
        "violations": (),
        "resources": ReportedResources(
            **amount.to_dict(),  # type: ignore[arg-type]
            source="estimate",
            units={"array": amount},
            incomplete=False,
            unmapped={},
            note="",
            family="zynqmp",
            board="micro8",
            judged_by="zcu102",
            part="a part",
            budget=Resources(lut=100),
            percent={"lut": 1.0, "uram": None},
            fits=True,
        ),
        "tasks": {"depth": a_task()},
        "finer": (FinerLayer(name="blocks.0.mlp", finer="planes", sqnr_db=33.0, gained_db=1.5, cycles=4644),),
        "calibration": CalibrationReport(0.1, 0.1, 0.1, 1.0, (), {}),
        "peers": (),
        "saif": None,
        "pictures": {},
        "outputs": {},
        "wall_s": {"total": 1.0},
        "peak_memory_bytes": PeakMemory(1, 2),
        "host": Host("3", "a machine", "linux"),
    }
    return Report(**{**fields, **changes})  # type: ignore[arg-type]
