"""Slaves as bad as AXI4 allows, and a host that interferes: good programs stay bit exact, errors have a name."""

import random
from dataclasses import replace

from moesaic.flow.verify.nano import STREAMS, TASK, Nano
from moesaic.flow.verify.runs import EXACT, PLAIN, Case, drawn_campaign
from moesaic.hw.spec.isa import INSTRUCTION_BYTES

__all__ = ["RESET_ENDINGS", "RESPONSES", "RUN_CYCLES", "SLAVES", "bad_beat", "draw"]

WATCHDOG = 100_000  # cycles, where nothing is wrong but the time it takes
RUN_CYCLES = 3500  # of a whole run, and some more

RESET_ENDINGS = {"reset": "RESET", "soft_reset": "SOFT_RESET"}  # by command

_STALLS = ("stall_ar", "stall_r", "stall_aw", "stall_w", "stall_b")
RESPONSES = {1: "SLVERR", 2: "SLVERR", 3: "DECERR"}  # EXOKAY is no answer to what was not exclusive
_ALIVE = {name: PLAIN[name] for name in ("dead_after", "dead_writes_after")}


def _slow(nano: Nano, number: int, what: str, **memory: int) -> Case:
    return Case(number, what, replace(nano.run(memory=memory), watchdog=WATCHDOG), (EXACT,))


def _stalls(nano: Nano, rng: random.Random, number: int) -> Case:
    memory = {name: rng.choice((0, 50, 80, 95, rng.randrange(96))) for name in _STALLS}
    memory["aw_after_w"] = rng.randrange(2)
    return _slow(nano, number, f"stalls {memory}", **memory)


def _late(nano: Nano, rng: random.Random, number: int) -> Case:
    latency = rng.choice((2, 10_000, rng.randrange(2, 10_001)))
    return _slow(nano, number, f"latency {latency}", latency=latency)


def bad_beat(nano: Nano, number: int, name: str, address: int, response: int) -> Case:
    """One beat of a region is answered with an error, in every burst that reads or writes it."""
    task = nano.program.task(TASK)
    fetched = any(
        0 <= address - task[stream]["address"] < task[stream]["count"] * INSTRUCTION_BYTES for stream in STREAMS
    )
    kind = "FETCH" if fetched else "WRITE" if name == "result" else "READ"
    run = nano.run(memory={"err_addr": address, "err_resp": response}, memory_after={"err_resp": 0})
    code = f"{kind}_{RESPONSES[response]}"
    # All instructions are read and all results written; weights of an expert that is not used harm nobody.
    allowed = (code, EXACT) if kind == "READ" else (code,)
    return Case(number, f"response {response} at {name} {address:#x}", run, allowed)


def _error(nano: Nano, rng: random.Random, number: int) -> Case:
    program, response = nano.program, rng.choice(list(RESPONSES))
    region = program.region(rng.choice([entry["name"] for entry in program.manifest["regions"]]))
    beat = program.config.port_bits // 8
    return bad_beat(nano, number, region.name, region.address + rng.randrange(region.bytes // beat) * beat, response)


def _dead(nano: Nano, rng: random.Random, number: int) -> Case:
    if rng.randrange(4):
        memory = {"dead_port": rng.randrange(nano.program.config.ports + 1), "dead_after": rng.randrange(120)}
    else:
        memory = {"dead_write_port": rng.randrange(nano.program.config.ports), "dead_writes_after": rng.randrange(4)}
    run = nano.run(memory=memory, memory_after=_ALIVE)
    return Case(number, f"no answer {memory}", run, ("WATCHDOG", EXACT))


def _host(nano: Nano, rng: random.Random, number: int) -> Case:
    command = rng.choice(("abort", "soft_reset", "reset", "start"))
    after = rng.randrange(RUN_CYCLES)
    allowed = {"abort": ("HOST_ABORT", EXACT), "soft_reset": ("SOFT_RESET",), "reset": ("RESET",), "start": (EXACT,)}[
        command
    ]
    return Case(number, f"{command} after {after} cycles", nano.run(command=command, command_after=after), allowed)


_KINDS = (_stalls, _stalls, _late, _error, _error, _error, _dead, _host, _host)


def draw(nano: Nano, seed: int, number: int) -> Case:
    """The case of that number."""
    rng = random.Random(f"{seed} {number}")
    return rng.choice(_KINDS)(nano, rng, number)


SLAVES = drawn_campaign("slaves", "bad slaves and a host that interferes", draw)
