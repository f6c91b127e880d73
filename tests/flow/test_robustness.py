"""Everything that can go wrong in a run: it ends, says what it was, and the next run is bit exact."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
from quantmodels import random_image, random_qmodel

from moesaic.compiler.pipeline import compile_model
from moesaic.flow.verify.nano import NANO, TASK, Nano
from moesaic.hw.spec.isa import INSTRUCTION_BYTES, Function, Opcode, Stationary
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.spec.registers import register_map
from moesaic.sim.rtl import RtlResult, RtlRun

LIMIT = 100_000  # cycles in which the interrupt must come; a good run takes some 3,000
EXOKAY, SLVERR, DECERR = 1, 2, 3


@pytest.fixture(scope="module")
def nano() -> Nano:
    qmodel = random_qmodel(NANO, 3)
    return Nano(qmodel, random_image(NANO, 3), compile_model(qmodel, PRESETS["micro8"], speculate=1))


def check_runs(rig, nano: Nano, runs: list[RtlRun], **options: object) -> list[RtlResult]:
    """Each run with a good one after it, which must be exact; results of the given ones."""
    good = nano.run()
    results = rig.run(nano.program, [good, *(item for run in runs for item in (run, good))], limit=LIMIT, **options)
    for result in results[::2]:
        rig.check(nano.qmodel, result, nano.image, TASK)
        for name in (
            "weight_bytes",
            "speculated_bytes_dropped",
            "store_bytes",
            "instructions_retired",
            "marks",
            "array_busy",
        ):
            assert result.counters[name] == results[0].counters[name], name
    return results[1::2]


@dataclass(frozen=True)
class Expected:
    """What the error registers must say; None: not looked at."""

    code: str
    unit: str
    index: int | None = None
    address: int | None = None

    def check(self, result: RtlResult, what: object) -> None:
        error = result.error
        assert error is not None, what
        got = Expected(error["code"], error.get("unit", ""), error.get("index"), error.get("address"))
        wanted = replace(
            self,
            index=got.index if self.index is None else self.index,
            address=got.address if self.address is None else self.address,
        )
        assert got == wanted, what
        layout = register_map(1)["STATUS"]
        assert result.status & layout["error"].mask and not result.status & (
            layout["busy"].mask | layout["done"].mask
        ), what


def check_table(rig, nano: Nano, table: Mapping[str, tuple[RtlRun, Expected]]) -> None:
    results = check_runs(rig, nano, [run for run, _ in table.values()])
    for (name, (_, expected)), result in zip(table.items(), results, strict=True):
        expected.check(result, name)


def raw(nano: Nano, stream: str, index: int, change: int) -> bytes:
    """An instruction with some bits turned over."""
    low = nano.place(stream, index) - nano.program.address
    word = int.from_bytes(nano.program.memory[low : low + INSTRUCTION_BYTES], "little") ^ change
    return word.to_bytes(INSTRUCTION_BYTES, "little")


def test_corrupt_instructions(rig, nano: Nano) -> None:
    table = {}
    for stream in ("load", "compute", "store"):
        unit, last = stream.upper(), nano.count(stream) - 1
        for index in {0, last // 2, last}:
            code = int(nano.instruction(stream, index)[0])
            for wrong in (0, 15, {"load": Opcode.STORE, "compute": Opcode.FETCH, "store": Opcode.MATMUL}[stream]):
                table[f"{stream} {index} opcode {wrong}"] = (
                    nano.patched(stream, index, raw(nano, stream, index, code ^ wrong)),
                    Expected("BAD_OPCODE", unit, index, 0),
                )
            table[f"{stream} {index} reserved bit"] = (
                nano.patched(stream, index, raw(nano, stream, index, 1 << 255)),
                Expected("BAD_FIELD", unit, index, 0),
            )
        zeros = bytes(INSTRUCTION_BYTES * nano.count(stream))
        table[f"{stream} zeroed"] = (nano.patched(stream, 0, zeros), Expected("BAD_OPCODE", unit, 0, 0))
    matmul = nano.find("compute", function=Function.GELU)
    for name, value in {
        "out_count": 0,
        "in_blocks": 0,
        "token_count": PRESETS["micro8"].max_tokens + 1,
        "stationary": 3,
        "function": 15,
        "dst_memory": 2,
    }.items():
        table[f"MATMUL {name}"] = (
            nano.changed("compute", matmul, **{name: value}),
            Expected("BAD_FIELD", "COMPUTE", matmul, 0),
        )
    keys = nano.find("compute", function=Function.SOFTMAX)
    table["KEYS narrow"] = nano.changed("compute", keys, narrow=1), Expected("BAD_FIELD", "COMPUTE", keys, 0)
    norm = nano.find("compute", opcode=Opcode.NORM)
    table["NORM dim"] = nano.changed("compute", norm, dim=0), Expected("BAD_FIELD", "COMPUTE", norm, 0)
    table["COPY words"] = nano.changed("compute", 0, words=0), Expected("BAD_FIELD", "COMPUTE", 0, 0)
    table["FETCH beats"] = nano.changed("load", 1, beats=0), Expected("BAD_FIELD", "LOAD", 1, 0)
    table["STORE words"] = nano.changed("store", 0, words=0), Expected("BAD_FIELD", "STORE", 0, 0)
    check_table(rig, nano, table)


def test_wild_addresses(rig, nano: Nano) -> None:
    program, window = nano.program, nano.program.address
    weights, result = program.region("weights.0").address, program.region("result").address
    table = {}
    for offset in (1 << 20, (1 << 32) - 1):
        table[f"FETCH {offset:#x}"] = (
            nano.changed("load", 2, base=0, offset=offset),
            Expected("ADDRESS_RANGE", "LOAD", 2, weights + 16 * offset),
        )
    for offset in (1 << 20, (1 << 40) - 16):
        table[f"STORE {offset:#x}"] = (
            nano.changed("store", 0, offset=offset),
            Expected("ADDRESS_RANGE", "STORE", 0, result + offset),
        )
    # One flipped bit of a STORE's offset: never a write beside the result, of which the window has plenty.
    stored = nano.instruction("store", 0)[1]["offset"]
    for bit in range(4, 40):
        offset = stored ^ 1 << bit
        inside = result + offset + program.region("result").bytes <= window + len(program.memory)
        table[f"STORE {offset:#x}, bit {bit}"] = (
            nano.changed("store", 0, offset=offset),
            Expected("RESULT_RANGE" if inside else "ADDRESS_RANGE", "STORE", 0, result + offset),
        )
    assert {"RESULT_RANGE", "ADDRESS_RANGE"} <= {expected.code for _, expected in table.values()}
    table["no result"] = nano.run(overrides={"result_bytes": 0}), Expected("RESULT_RANGE", "STORE", 0, result + stored)
    for number, stream in enumerate(("load", "compute", "store")):
        for base in (0, window - 32, window + len(program.memory), 1 << 40, (1 << 64) - 32):
            table[f"{stream}_base {base:#x}"] = (
                nano.run(overrides={f"{stream}_base": base}),
                Expected("ADDRESS_RANGE", "FETCH", number, base),
            )
    table["no window"] = nano.run(overrides={"window_bytes": 0}), Expected("ADDRESS_RANGE", "FETCH")
    for name, index, field in (
        ("INT8", nano.find("compute", function=Function.INT8), "dst_addr"),
        ("GELU", nano.find("compute", function=Function.GELU), "dst_addr"),
        ("ADD", nano.find("compute", function=Function.ADD), "dst_addr"),
        ("SOFTMAX", nano.find("compute", function=Function.SOFTMAX), "dst_addr"),
        ("KEYS", nano.find("compute", stationary=Stationary.KEYS), "kv_addr"),
        ("VALUES", nano.find("compute", stationary=Stationary.VALUES), "kv_addr"),
        ("queries", nano.find("compute", stationary=Stationary.KEYS), "src_addr"),
        ("normalised", nano.find("compute", stream=1), "src_addr"),
        ("tap", nano.find("compute", tap=1), "tap_addr"),
        ("COPY", 0, "addr"),
    ):
        table[name] = nano.changed("compute", index, **{field: 0xFFFE}), Expected("MEMORY_RANGE", "COMPUTE")
    table["STORE source"] = nano.changed("store", 0, src_addr=0xFFFE), Expected("BAD_FIELD", "STORE", 0, 0)
    check_table(rig, nano, table)


def test_error_responses(rig, nano: Nano) -> None:
    program, table = nano.program, {}
    weights, result = program.region("weights.0"), program.region("result")
    for name, resp in (("SLVERR", SLVERR), ("DECERR", DECERR), ("SLVERR", EXOKAY)):
        for address in (weights.address, weights.address + 1600, weights.address + weights.bytes - 16):
            table[f"weights {address:#x} {resp}"] = (
                nano.run(memory={"err_addr": address, "err_resp": resp}, memory_after={"err_resp": 0}),
                Expected(f"READ_{name}", "LOAD", None, address),
            )
        for number, stream in enumerate(("load", "compute", "store")):
            address = nano.place(stream, nano.count(stream) - 1)
            table[f"{stream} {resp}"] = (
                nano.run(memory={"err_addr": address, "err_resp": resp}, memory_after={"err_resp": 0}),
                Expected(f"FETCH_{name}", "FETCH", number, address),
            )
        for address in (result.address, result.address + result.bytes - 16):
            table[f"result {address:#x} {resp}"] = (
                nano.run(memory={"err_addr": address, "err_resp": resp}, memory_after={"err_resp": 0}),
                Expected(f"WRITE_{name}", "STORE"),
            )
    check_table(rig, nano, table)


def test_a_slave_that_waits_for_data(rig, nano: Nano) -> None:
    """AXI4 lets a slave hold AWREADY until WVALID, and WREADY until the address."""
    slow = {"stall_aw": 50, "stall_w": 50, "stall_b": 50}
    runs = [nano.run(memory={"aw_after_w": 1}), nano.run(memory=slow), nano.run(memory={"aw_after_w": 0})]
    for result in rig.run(nano.program, runs, limit=LIMIT):
        rig.check(nano.qmodel, result, nano.image, TASK)


@pytest.mark.parametrize(
    "fault",
    [
        {"dead_port": 0, "dead_after": 0},
        {"dead_port": 0, "dead_after": 7},
        {"dead_port": 1, "dead_after": 0},
        {"dead_port": 1, "dead_after": 3},
        {"dead_write_port": 0, "dead_writes_after": 0},
    ],
    ids=str,
)
def test_a_slave_that_never_answers(rig, nano: Nano, fault: dict[str, int]) -> None:
    """The interrupt comes while the bus still owes responses; when it gives them, the accelerator is as good as new."""
    alive = {"dead_after": -1, "dead_writes_after": -1}
    bad = nano.run(memory=fault, memory_after=alive)
    results = rig.run(nano.program, [bad, nano.run(), nano.run()], limit=LIMIT)
    Expected("WATCHDOG", "CONTROL", 0, 0).check(results[0], fault)
    assert results[0].error["draining"]
    for result in results[1:]:
        rig.check(nano.qmodel, result, nano.image, TASK)


def test_the_host_interferes(rig, nano: Nano) -> None:
    rng, table = random.Random(1), []
    for command in ("abort", "soft_reset", "start"):
        table += [
            nano.run(command=command, command_after=after)
            for after in (0, 5, 40, *(rng.randrange(2000) for _ in range(5)))
        ]
    results = check_runs(rig, nano, table)
    layout = register_map(1)["STATUS"]
    for run, result in zip(table, results, strict=True):
        if run.command == "abort":
            Expected("HOST_ABORT", "CONTROL", 0, 0).check(result, run.command_after)
        elif run.command == "soft_reset":
            assert result.error["code"] == "SOFT_RESET" and result.status == 0
        else:
            rig.check(nano.qmodel, result, nano.image, TASK)
            assert result.status == layout["done"].mask | layout["start_refused"].mask


def test_missing_and_waiting(rig, nano: Nano) -> None:
    """Programs that wait for what never comes, or leave words over, end by the watchdog."""
    last = nano.count("load") - 1
    beats = nano.instruction("load", last)[1]["beats"]
    never = (1 << 24) - 1
    runs = {
        "last FETCH missing": nano.run(overrides={"load_count": last}),
        "all FETCHes missing": nano.run(overrides={"load_count": 0}),
        "last FETCH short": nano.changed("load", last, beats=beats - 1),
        "FETCH waits": nano.changed("load", 3, wait=never),
        "STORE waits": nano.changed("store", 0, wait=never),
        "words left over": nano.changed("load", last, beats=beats + 1),
    }
    results = check_runs(rig, nano, list(runs.values()))
    for name, result in zip(runs, results, strict=True):
        Expected("WATCHDOG", "CONTROL", 0, 0).check(result, name)


def test_a_run_that_is_not_all_of_its_program(rig, nano: Nano) -> None:
    """It ends `done`; the driver refuses its result, which is not there."""
    words, compute = nano.instruction("store", 0)[1]["words"], nano.find("compute", mark=1)
    runs = [
        nano.run(overrides={"store_count": 0}),
        nano.changed("store", 0, words=words - 1),
        nano.changed("compute", compute, mark=0),
    ]
    layout = register_map(1)["STATUS"]
    for result, name in zip(check_runs(rig, nano, runs), ("store_bytes", "store_bytes", "marks"), strict=True):
        assert result.error["code"] == "INCOMPLETE" and f"{name} must be" in result.error["text"]
        assert result.output is None and result.status == layout["done"].mask
