# amaranth: UnusedElaboratable=no
"""Equal submodules, converted once: an array of equal rows or lanes costs the export one of them."""

from typing import TYPE_CHECKING, Any

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

__all__ = ["ExportPlatform", "Shared"]


class ExportPlatform:
    """Collects the shared components that an export meets; `hw.verilog` converts each of them once.

    Attributes
    ----------
    components : dict of module name to Component
    """

    def __init__(self) -> None:
        self.components: dict[str, wiring.Component] = {}


class Shared(wiring.Component):
    """Stands for a component of plain ports that is placed many times.

    In simulation and proofs it is that component; in an export an instance of its module, so that every place refers to
    one module. The component must use the ``sync`` domain, and clock and reset must reach it (a register with a reset).

    Parameters
    ----------
    component : type
        Class of the component; its ports may be values or views, not interfaces.
    parameters
        Its keyword arguments; they and the class name are the name of the module.
    """

    def __init__(self, component: type[wiring.Component], **parameters: int) -> None:
        self.component: Any = component(**parameters)
        owner = component.__module__.rpartition(".")[2]
        self.module_name = "_".join(
            [owner, component.__name__.lower().strip("_"), *(f"{key}{value}" for key, value in parameters.items())]
        )
        super().__init__(dict(self.component.signature.members))

    if TYPE_CHECKING:
        # The ports are those of the component, which no annotation can say.
        def __getattr__(self, name: str) -> Any: ...

    def elaborate(self, platform: object) -> Module | Instance:
        if isinstance(platform, ExportPlatform):
            platform.components.setdefault(self.module_name, self.component)
            ports = {
                f"{'o' if member.flow == Out else 'i'}_{name}": Value.cast(getattr(self, name))
                for name, member in self.signature.members.items()
            }
            return Instance(self.module_name, i_clk=ClockSignal(), i_rst=ResetSignal(), **ports)
        m = Module()
        m.submodules.inner = inner = self.component
        for name, member in self.signature.members.items():
            outer, own = Value.cast(getattr(self, name)), Value.cast(getattr(inner, name))
            m.d.comb += outer.eq(own) if member.flow == Out else own.eq(outer)
        return m
