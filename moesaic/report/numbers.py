"""report.json: the numbers of a run, each from a counter, a comparison or a stated formula."""

import math
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import moesaic
from moesaic.compiler.cost import part_cycles
from moesaic.flow.execute import TaskOutcome
from moesaic.flow.model_cycles import model_costs
from moesaic.flow.program import Program
from moesaic.golden.config import M3ViTConfig

__all__ = ["ARRAY_STATES", "FORMAT", "compared_models", "needed_weight_bytes", "peak_memory", "report", "roofline"]

FORMAT = 3  # of report.json
ARRAY_STATES = ("busy", "starved", "loading", "blocked", "idle")
_RULES = (
    "burst crosses 4 KiB",
    "burst outside the memory",
    "valid withdrawn or payload changed",
    "WLAST on a wrong beat",
    "too many bursts in flight",
    "burst not incrementing, not of full width, or not aligned",
)


def needed_weight_bytes(
    model: M3ViTConfig, blocks: int, experts_used: Mapping[str, int], *, expert_bits: int = 8
) -> int:
    """Matrices that one image must stream, bytes: the experts that have tokens, no biases, no padding.

    Parameters
    ----------
    model : M3ViTConfig
    blocks : int
        Blocks that are run.
    experts_used : mapping of block name to int
        Experts with tokens; a block that is not named uses all.
    expert_bits : int
        Of an expert's weight; all others have 8, or 16 with 16.
    """
    if expert_bits > 8:
        return 2 * needed_weight_bytes(model, blocks, experts_used)
    total = model.embed_weight_bytes
    for number in range(blocks):
        total += model.block_weight_bytes(number)
        sizes = model.layer(number)
        used, expert = experts_used.get(f"blocks.{number}", sizes.experts), sizes.expert_bytes(model.dim)
        total += used * expert * expert_bits // 8 - sizes.experts * expert
    return total


def array_products(model: M3ViTConfig, blocks: int, *, expert_bits: int = 8) -> int:
    """Products of bytes that one image takes: of 16-bit operands four each, two where pixels or probabilities have 8
    bits.
    """
    macs, context = (
        sum(model.block_macs(number) for number in range(blocks)),
        blocks * model.tokens * model.tokens * model.dim,
    )
    return model.embed_macs + macs if expert_bits <= 8 else 2 * model.embed_macs + 4 * macs - 2 * context


def roofline(
    macs: int, weight_bytes: int, *, macs_per_cycle: int, bytes_per_cycle: int, cycles: int | None
) -> dict[str, Any]:
    """Cycles that arithmetic alone and weights alone would take, and the fraction of the larger that was reached."""
    arithmetic, ddr = math.ceil(macs / macs_per_cycle), math.ceil(weight_bytes / bytes_per_cycle)
    bound = max(arithmetic, ddr)
    return {
        "arithmetic_cycles": arithmetic,
        "ddr_cycles": ddr,
        "bound_cycles": bound,
        "fraction": None if not cycles else round(bound / cycles, 4),
    }


def peak_memory() -> dict[str, int]:
    """Largest resident sizes, bytes: of this process, and of the largest of its children (compilers, the simulator)."""
    return {
        "this_process": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "largest_child": 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
    }


def compared_models(outcome: TaskOutcome) -> list[str]:
    """Names of the models whose results were held against each other."""
    return ["integer golden", "functional simulator", *([] if outcome.rtl is None else ["RTL"])]


def _steps(before: Mapping[str, int], after: Mapping[str, int], read_before: int) -> dict[str, Any]:
    """What happened between two marks."""
    return {
        "cycles": after["cycles"] - before.get("cycles", 0),
        "bytes_read": after["read_bytes"] - (before["read_bytes"] if before else read_before),
        "array": {state: after[f"array_{state}"] - before.get(f"array_{state}", 0) for state in ARRAY_STATES},
    }


def _parts(outcome: TaskOutcome, names: Sequence[str], read_before: int) -> dict[str, dict[str, Any]]:
    """Measured cycles and bytes by part of the network; empty without RTL."""
    parts: dict[str, dict[str, Any]] = {}
    if outcome.rtl is None:
        return parts
    before: Mapping[str, int] = {}
    for name, after in zip(names, outcome.rtl.mark_counters, strict=False):
        parts[name] = _steps(before, after, read_before)
        before = after
    counters = outcome.rtl.counters
    if counters and before:  # from the last block to the interrupt
        end = {**counters, "read_bytes": read_before + counters["weight_bytes"] + counters["fetch_bytes"]}
        parts["result"] = _steps(before, end, read_before)
    return parts


def _model_cycles(
    program: Program, outcome: TaskOutcome, measured: Mapping[str, int | None], latency: int
) -> dict[str, Any]:
    """The analytic model's cycles beside the measured ones: of the image, and by part of the network."""
    parts = part_cycles(model_costs(program, outcome.task, outcome.experts, ddr_latency=latency))
    rows = {"image": sum(parts.values()), **parts}

    def error(name: str) -> float | None:
        cycles = measured.get(name)
        return round(rows[name] / cycles - 1, 5) + 0.0 if cycles else None  # + 0.0: no minus before a zero

    return {name: {"cycles": round(cycles), "error": error(name)} for name, cycles in rows.items()}


_UNMEASURED: dict[str, Any] = {"cycles": None, "bytes_read": None, "array": None}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _block_rows(
    outcome: TaskOutcome, names: Sequence[str], model: M3ViTConfig, parts: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    wrong = {difference.mismatch.name for difference in outcome.differences}
    rows = []
    for number, (name, quality) in enumerate(zip(names[1:], outcome.agreement, strict=True)):
        tokens = outcome.experts.get(name)
        rows.append(
            {
                "name": name,
                "kind": quality["kind"],
                **{k: v for k, v in parts.get(name, _UNMEASURED).items() if k != "array"},
                "macs": model.block_macs(number),
                "sqnr_db": _finite(quality["sqnr_db"]),
                "cosine": _finite(quality["cosine"]),
                "routing_agreement": _finite(quality["routing_agreement"]),
                "bit_exact": name not in wrong,
                "experts_used": None if tokens is None else sum(count > 0 for count in tokens),
                "tokens_per_expert": None if tokens is None else list(tokens),
                "array": parts.get(name, _UNMEASURED)["array"],
            }
        )
    return rows


def _units(counters: Mapping[str, int]) -> dict[str, dict[str, int]]:
    if not counters:
        return {}
    loader = {state: counters[f"loader_{state}"] for state in ("busy", "starved", "blocked")}
    return {
        "array": {state: counters[f"array_{state}"] for state in ARRAY_STATES},
        "loader": {
            **loader,
            "idle": counters["cycles"] - sum(loader.values()),
            "queue_blocked_by_router": counters["load_blocked_router"],
            "queue_blocked_by_space": counters["load_blocked_space"],
        },
    }


def _violations(outcome: TaskOutcome) -> list[str]:
    if outcome.rtl is None:
        return []
    mask = outcome.rtl.violations["mask"]
    where = f"port {outcome.rtl.violations['port']}, address {outcome.rtl.violations['address']:#x}"
    return [f"{rule} ({where})" for bit, rule in enumerate(_RULES) if mask >> bit & 1]


def _counted(outcome: TaskOutcome, name: str) -> int | None:
    """A counter of the RTL (None after an error), or of the functional simulator if there was no RTL."""
    return outcome.counters[name] if outcome.rtl is None else outcome.rtl.counters.get(name.lower())


def _task_entry(
    program: Program, outcome: TaskOutcome, names: Sequence[str], read_before: int, latency: int
) -> dict[str, Any]:
    request, model, config = program.request, program.request.model, program.request.config
    counters: Mapping[str, int] = {} if outcome.rtl is None else outcome.rtl.counters
    cycles = counters.get("cycles")
    parts = _parts(outcome, names, read_before)
    blocks = _block_rows(outcome, names, model, parts)
    macs = model.embed_macs + sum(block["macs"] for block in blocks)
    used = {name: sum(count > 0 for count in tokens) for name, tokens in outcome.experts.items()}
    needed = needed_weight_bytes(model, request.blocks, used, expert_bits=request.expert_bits)
    milliseconds = None if cycles is None else cycles / (1000 * config.clock_mhz)
    wrong = {difference.mismatch.name for difference in outcome.differences}
    return {
        "task": outcome.task,
        "bit_exact": not outcome.differences,
        "mismatches": sum(d.mismatch.count for d in outcome.differences),
        "differences": [
            {
                "models": d.models,
                "tensor": d.mismatch.name,
                "token": d.mismatch.token,
                "channel": d.mismatch.channel,
                "got": d.mismatch.got,
                "expected": d.mismatch.expected,
                "count": d.mismatch.count,
                "text": str(d.mismatch),
            }
            for d in outcome.differences
        ],
        "error": None if outcome.rtl is None or outcome.rtl.error is None else dict(outcome.rtl.error),
        "cycles": cycles,
        "estimated_cycles": program.estimate.get(outcome.task),
        "model_cycles": _model_cycles(
            program, outcome, {"image": cycles, **{name: part["cycles"] for name, part in parts.items()}}, latency
        ),
        "macs": macs,
        "weight_bytes": needed,
        "weight_bytes_read": _counted(outcome, "WEIGHT_BYTES"),
        "speculated_bytes_dropped": _counted(outcome, "SPECULATED_BYTES_DROPPED"),
        "roofline": roofline(
            array_products(model, request.blocks, expert_bits=request.expert_bits),
            needed,
            macs_per_cycle=config.macs_per_cycle,
            bytes_per_cycle=config.stripe_bytes,
            cycles=cycles,
        ),
        "latency_ms": None if milliseconds is None else round(milliseconds, 6),
        "fps": None if not milliseconds else round(1000 / milliseconds, 3),
        "embedding": {
            **{k: v for k, v in parts.get("embed", _UNMEASURED).items()},
            "macs": model.embed_macs,
            "bit_exact": "embed" not in wrong,
        },
        "blocks": blocks,
        "result": {**parts.get("result", _UNMEASURED), "bit_exact": "output" not in wrong},
        "units": _units(counters),
        "array": _units(counters).get("array"),
        "experts_used": used,
        "tokens_per_expert": {name: list(tokens) for name, tokens in outcome.experts.items()},
        "speculated_experts": program.image.task(outcome.task)["speculated"],
        "counters": dict(counters),
        "violations": _violations(outcome),
    }


def report(
    program: Program,
    outcomes: Sequence[TaskOutcome],
    *,
    wall_s: Mapping[str, float],
    total_s: float,
    image: str,
    latency: int,
    command: str,
    resources: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole of report.json.

    Parameters
    ----------
    program : Program
    outcomes : sequence of TaskOutcome
        In the order in which they ran; the numbers of the first are also those at the top.
    wall_s : mapping of stage to seconds
    total_s : float, seconds
        Since the command began.
    image : str
        Where the input came from.
    latency : int, cycles
        Of the DDR model.
    command : str
        What repeats this.
    resources : mapping
        Of `flow.resources`.
    """
    request, names = program.request, [entry["name"] for entry in program.image.manifest["tensors"]]
    tasks, read_before = {}, 0
    for outcome in outcomes:
        entry = _task_entry(program, outcome, names, read_before, latency)
        tasks[outcome.task] = entry
        if entry["counters"]:
            read_before += entry["counters"]["weight_bytes"] + entry["counters"]["fetch_bytes"]
    first = tasks[outcomes[0].task]
    same = (
        "cycles",
        "estimated_cycles",
        "model_cycles",
        "macs",
        "weight_bytes",
        "weight_bytes_read",
        "speculated_bytes_dropped",
        "roofline",
        "latency_ms",
        "fps",
        "blocks",
        "units",
        "array",
        "experts_used",
        "tokens_per_expert",
    )
    violations = [text for entry in tasks.values() for text in entry["violations"]]
    return {
        "format": FORMAT,
        "version": moesaic.__version__,
        "command": command,
        "model": request.model.name,
        "task": ",".join(tasks),
        "board": request.board,
        "board_origin": request.board_origin,
        "weights": program.qmodel.weights,
        "provenance": program.provenance,
        "widths": program.qmodel.widths,
        "not_compared": program.not_compared,
        "calibrated_on": program.calibrated.get("calibrated_on"),
        "calibration_images": {key: program.calibrated.get(key, []) for key in ("skipped", "warnings")},
        "import": None if request.imported is None else request.imported.report.to_dict(),
        "seed": request.seed,
        "blocks_run": request.blocks,
        "depth": request.model.depth,
        "tokens": request.model.tokens,
        "dim": request.model.dim,
        "image": image,
        "clock_mhz": request.config.clock_mhz,
        "config": request.config.to_dict(),
        "config_hash": request.config.hash,
        "ddr": {"bytes_per_cycle": request.config.stripe_bytes, "latency_cycles": latency},
        "compared": compared_models(outcomes[0]),
        "bit_exact": all(entry["bit_exact"] for entry in tasks.values()) and not violations,
        "mismatches": sum(entry["mismatches"] for entry in tasks.values()),
        "violations": violations,
        **{key: first[key] for key in same},
        "resources": dict(resources),
        "ablation": None,  # `moesaic ablate` fills it in
        "tasks": tasks,
        "wall_s": {**wall_s, "total": round(total_s, 3)},
        "peak_memory_bytes": peak_memory(),
        "host": {"python": platform.python_version(), "machine": platform.machine(), "system": sys.platform},
    }
