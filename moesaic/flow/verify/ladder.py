"""The ladder of trials that a mutant climbs until one notices it: cheap ones first, whole networks last."""

from dataclasses import dataclass, replace
from operator import methodcaller

import numpy as np

from moesaic.compiler.batch import Batch
from moesaic.compiler.image import PAGE_BYTES, ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.flow.verify import programs
from moesaic.flow.verify.broken_trials import broken_trials
from moesaic.flow.verify.counter_trials import counter_trials
from moesaic.flow.verify.host_trials import host_trials
from moesaic.flow.verify.layers import SIDE, every_layer
from moesaic.flow.verify.legal_trials import legal_trials
from moesaic.flow.verify.legality_trials import legality_trials
from moesaic.flow.verify.nano import Nano, nano
from moesaic.flow.verify.place_trials import place_trials
from moesaic.flow.verify.rare_trials import rare_trials
from moesaic.flow.verify.state_trials import command_trials
from moesaic.flow.verify.stream_trials import stream_trials
from moesaic.flow.verify.trial import Trial, runs_trial
from moesaic.flow.verify.tried import CONFIG
from moesaic.golden.config import PRESETS as MODELS
from moesaic.golden.config import M3ViTConfig
from moesaic.golden.m3vit import build
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.numerics import IntArray
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.sim.rtl import RtlRun

__all__ = ["Ladder", "Rung", "Truth", "ladder"]

STALLS = dict.fromkeys(("stall_ar", "stall_r", "stall_aw", "stall_w", "stall_b"), 50)
CHANGED = 40  # programs with a change
SEED = 11
WATCHDOG = 20_000
GOOD = "a run"
LARGE = M3ViTConfig(  # as many tokens and channels as there is room for
    name="large",
    image_size=(64, 64),
    patch_size=8,
    dim=128,
    heads=2,
    depth=1,
    mlp_ratio=1,
    experts=8,
    expert_hidden=24,
    top_k=2,
    moe_every=1,
    tasks=("x",),
)

# All of its 129 tokens go to two experts, in each block to others: queues that fill up.
FULL = replace(LARGE, name="full queues", image_size=(64, 128), dim=16, depth=4, expert_hidden=8)


@dataclass(frozen=True)
class Rung:
    """Some trials.

    Parameters
    ----------
    name : str
    trials : tuple of Trial
    """

    name: str
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Truth:
    """What the right hardware must leave behind a trial, by the integer golden model.

    Parameters
    ----------
    trial : str
    program : ProgramImage
    residual : int16 [items * tokens, dim]
    """

    trial: str
    program: ProgramImage
    residual: IntArray


@dataclass(frozen=True)
class Ladder:
    """Everything that the trials need.

    Parameters
    ----------
    rungs : tuple of Rung
        The cheapest first, whole networks last.
    cheap : int
        Rungs before those networks.
    truths : tuple of Truth
    memory : bytes
        From the first address of the DDR: all programs.
    """

    rungs: tuple[Rung, ...]
    cheap: int
    truths: tuple[Truth, ...]
    memory: bytes


class _Programs:
    """Programs one behind the other in the DDR, each with its images."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.content = bytearray()
        self.truths: list[Truth] = []

    @property
    def end(self) -> int:
        """Address of the next one."""
        return self.base + -(-len(self.content) // PAGE_BYTES) * PAGE_BYTES

    def add(self, program: ProgramImage, images: IntArray) -> None:
        """Put one in its place."""
        self.content = self.content.ljust(program.address - self.base, b"\0") + program.memory_with(images)

    def legal(self) -> list[Trial]:
        """Trials of legal programs."""
        program, found = legal_trials(self.end)
        self.content = self.content.ljust(program.address - self.base, b"\0") + program.memory
        self.truths += [Truth(trial.name, program, left) for trial, left in found]
        return [trial for trial, _ in found]

    def network(self, name: str, qmodel: QuantModel, images: IntArray, run: RtlRun | None = None) -> Trial:
        """A trial of a network, on one image or all of them at once."""
        config, task = CONFIG, qmodel.network.tasks[0]
        several = len(images) > 1
        program = compile_model(
            qmodel, config, tasks=[Batch((task,), len(images))], window_address=self.end, speculate=1
        )
        self.add(program, images if several else images[0])
        golden = IntM3ViT.of(qmodel, config)
        residual = np.concatenate([golden.run(image, task)[-1] for image in images])
        self.truths.append(Truth(name, program, residual))
        run = RtlRun(program.tasks[0], watchdog=WATCHDOG) if run is None else replace(run, task=program.tasks[0])
        return runs_trial(name, program, [run])


def _faults(nano: Nano) -> list[Trial]:
    """Memories that pause, answer late, with errors or not at all."""
    program = nano.program
    slow = [
        nano.run(memory=STALLS),
        nano.run(memory={"aw_after_w": 1, "stall_w": 90, "latency": 7}),
        nano.run(memory={"stall_b": 95, "stall_aw": 90, "stall_r": 70}),
        nano.run(memory={"latency": 400}),
        nano.run(memory={"bandwidth": 1}),
    ]
    bad = []
    for entry in program.manifest["regions"]:
        region = program.region(entry["name"])
        for place, response in ((0, 2), (region.bytes // 2 & -64, 3), (region.bytes - 16, 1)):
            run = nano.run(memory={"err_addr": region.address + place, "err_resp": response})
            bad.append(replace(run, memory_after={"err_resp": 0}))
    silent = [{"dead_write_port": 0, "dead_writes_after": 0}, {"dead_port": program.config.ports, "dead_after": 3}]
    for memory in silent:
        run = nano.run(memory=memory, memory_after={"dead_writes_after": -1, "dead_after": -1})
        bad.append(replace(run, watchdog=300))
    return [
        runs_trial("pauses", program, slow),
        runs_trial("bad answers", program, [*bad, nano.run()], brief=True),
    ]


def _changed(nano: Nano) -> Trial:
    """Programs with one change, most of which are refused."""
    runs = [replace(programs.draw(nano, SEED, number).run, watchdog=300) for number in range(CHANGED)]
    return runs_trial("changed programs", nano.program, [*runs, nano.run()], brief=True)


def _two_experts(qmodel: QuantModel) -> QuantModel:
    """The network with two experts for all tokens, the next ones in each block."""
    pairs = [(2 * place, 2 * place + 1) for place in range(len(qmodel.blocks))]
    blocks = [
        block.with_layers(methodcaller("only_experts", pair)) for block, pair in zip(qmodel.blocks, pairs, strict=True)
    ]
    return replace(qmodel, blocks=tuple(blocks))


def ladder() -> Ladder:
    """The ladder for `micro8`."""
    small, rng = nano(), np.random.default_rng(5)
    place = _Programs(small.program.address)
    place.add(small.program, small.image)
    place.truths.append(Truth(GOOD, small.program, small.expected))
    images = rng.integers(0, 256, (10, 3, SIDE, SIDE), dtype=np.uint8)
    layers = []
    for bits, used, memory in ((8, images[8:9], {}), (4, images[8:9], STALLS), (8, images[8:], {})):
        qmodel = quantize(every_layer(0), images[:8], weights="seeded", expert_bits=bits)
        run = RtlRun("", watchdog=WATCHDOG, memory=memory)
        layers.append(place.network(f"{len(used)} images, experts of {bits} bits", qmodel, used, run))
    networks = {}
    for config in (FULL, MODELS["m3vit-micro"], LARGE):
        images = rng.integers(0, 256, (3, 3, *config.image_size), dtype=np.uint8)
        qmodel = quantize(build(config, 0), images[:2], weights="seeded")
        if config is FULL:
            qmodel = _two_experts(qmodel)
        networks[config.name] = [place.network(config.name, qmodel, images[2:])]
    good = runs_trial(GOOD, small.program, [small.run()])
    beside = {
        "places": place_trials(small),
        "checks": legality_trials(small),
        "counters": counter_trials(small),
        "streams": stream_trials(small),
        "resets and commands": [*broken_trials(small), *command_trials(small)],
    }
    place.truths += [Truth(trial.name, small.program, small.expected) for rung in beside.values() for trial in rung]
    rungs = {
        "a run": [good],
        "bad memories": _faults(small),
        "every layer": layers,
        "host": [*host_trials(small), *rare_trials(small)],
        "changed programs": [_changed(small)],
        "legal programs": place.legal(),
        **beside,
    }
    return Ladder(
        tuple(Rung(name, tuple(trials)) for name, trials in (rungs | networks).items()),
        len(rungs),
        tuple(place.truths),
        bytes(place.content),
    )
