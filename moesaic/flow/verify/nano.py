"""A network small enough for millions of runs on RTL: two blocks, some three thousand cycles on `micro8`."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.flow.verify.tried import CONFIG
from moesaic.golden.config import M3ViTConfig
from moesaic.golden.m3vit import build
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.numerics import IntArray
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import INSTRUCTION_BYTES, Opcode
from moesaic.sim.rtl import RtlRun

__all__ = ["NANO", "STREAMS", "TASK", "WATCHDOG", "Nano", "nano"]

TASK = "x"
WATCHDOG = 3000  # cycles without progress; a whole run takes about as many
STREAMS = ("load", "compute", "store")
NANO = M3ViTConfig(
    name="nano",
    image_size=(16, 16),
    patch_size=8,
    dim=16,
    heads=2,
    depth=2,
    mlp_ratio=2,
    experts=4,
    expert_hidden=16,
    top_k=2,
    tasks=(TASK,),
)


@dataclass(frozen=True)
class Nano:
    """The network, an image and the program for it.

    Parameters
    ----------
    qmodel : QuantModel
    image : uint8 [3, height, width]
    program : ProgramImage
    """

    qmodel: QuantModel
    image: IntArray
    program: ProgramImage

    def place(self, stream: str, index: int) -> int:
        """Address of an instruction."""
        return int(self.program.task(TASK)[stream]["address"]) + index * INSTRUCTION_BYTES

    def count(self, stream: str) -> int:
        """Instructions of a stream."""
        return int(self.program.task(TASK)[stream]["count"])

    def bytes_of(self, stream: str, index: int) -> bytes:
        """An instruction as it lies in memory."""
        low = self.place(stream, index) - self.program.address
        return self.program.memory[low : low + INSTRUCTION_BYTES]

    def instruction(self, stream: str, index: int) -> tuple[Opcode, dict[str, int]]:
        """An instruction, decoded."""
        return isa.decode(self.bytes_of(stream, index))

    def find(self, stream: str, /, **fields: int) -> int:
        """Index of the first instruction with these fields.

        Raises
        ------
        KeyError
            If there is none.
        """
        for index in range(self.count(stream)):
            opcode, values = self.instruction(stream, index)
            if fields.items() <= {**values, "opcode": opcode}.items():
                return index
        raise KeyError(f"no instruction of {stream} has {fields}")

    def run(self, **options: Any) -> RtlRun:
        """A run of the program."""
        return RtlRun(TASK, image=self.image, watchdog=WATCHDOG, **options)

    def patched(self, stream: str, index: int, data: bytes) -> RtlRun:
        """A run with other bytes in place of an instruction and those behind it."""
        return self.run(patches=[(self.place(stream, index), data)])

    def changed(self, stream: str, index: int, **fields: int) -> RtlRun:
        """A run with other values in some fields of an instruction."""
        opcode, values = self.instruction(stream, index)
        return self.patched(stream, index, isa.encode(opcode, {**values, **fields}))

    @functools.cached_property
    def expected(self) -> IntArray:
        """The final residual by the integer golden model, [tokens, dim]."""
        return IntM3ViT.of(self.qmodel, self.program.config).run(self.image, TASK)[-1]


def nano(seed: int = 0) -> Nano:
    """The network with seeded weights, quantised on noise and compiled for `micro8` with one speculated expert."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (4, 3, *NANO.image_size), dtype=np.uint8)
    qmodel = quantize(build(NANO, seed), images, weights="seeded")
    return Nano(qmodel, images[0], compile_model(qmodel, CONFIG, speculate=1))
