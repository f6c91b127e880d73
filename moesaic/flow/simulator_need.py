"""The simulator of an accelerator as something that tasks need."""

from dataclasses import dataclass

from moesaic.compiler.image import ProgramImage
from moesaic.flow.stages import Stages
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.sim.rtl import RtlSimulator

__all__ = ["SimulatorNeed"]


@dataclass(frozen=True)
class SimulatorNeed:
    """The simulator that a program is run on.

    Parameters
    ----------
    accelerator : AcceleratorConfig
    memory_bytes, base : int
        Of the program's DDR.
    """

    accelerator: AcceleratorConfig
    memory_bytes: int
    base: int

    @classmethod
    def of(cls, image: ProgramImage) -> "SimulatorNeed":
        """That of a program."""
        return cls(image.config, len(image.memory), image.address)

    def _simulator(self) -> RtlSimulator:
        return RtlSimulator(self.accelerator, memory_bytes=self.memory_bytes, base=self.base)

    @property
    def key(self) -> str:
        """Of what it is built from."""
        return f"simulator-{self.accelerator.hash[:16]}-{self._simulator().memory_bytes:x}-{self.base:x}"

    def make(self, stages: Stages) -> None:
        """Build it, or find it."""
        with stages.stage("build", f"simulator of {self.accelerator.name} (Verilator and C++; minutes the first time)"):
            self._simulator().build()
